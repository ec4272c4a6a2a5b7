"""The last hour in points, one for each snapshot, and the last events; kept in memory alone."""

from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np
from msgspec import Struct

from scheduler.memory.histogram import percentile_ns
from scheduler.stats.happenings import Happening, Watcher
from scheduler.stats.publisher import Publication
from scheduler.stats.reading import Int64s
from scheduler.stats.responses import Prepared

POINTS_MAX = 720
EVENTS_MAX = 200


class Point(Struct, frozen=True):
    """One interval; latencies are of the jobs within it, null where there was none."""

    t_ms: int
    jobs_per_s: float
    failed_per_s: float
    dispatch_p50_ms: float | None
    dispatch_p99_ms: float | None
    end_to_end_p50_ms: float | None
    end_to_end_p99_ms: float | None
    queued: int
    in_flight: int
    sessions: int
    nodes: int


class History(Struct, frozen=True):
    """Points as columns, all of one length, oldest first; `jobs_per_s` are those with a result."""

    interval_s: float
    t_ms: list[int]
    jobs_per_s: list[float]
    failed_per_s: list[float]
    dispatch_p50_ms: list[float | None]
    dispatch_p99_ms: list[float | None]
    end_to_end_p50_ms: list[float | None]
    end_to_end_p99_ms: list[float | None]
    queued: list[int]
    in_flight: list[int]
    sessions: list[int]
    nodes: list[int]
    events: list[Happening]


class HistoryKeeper:
    """Makes a point of each publication after the first."""

    def __init__(self, interval_seconds: float, now_ms: Callable[[], int]) -> None:
        """`now_ms` gives the time since the epoch, for what is noted between publications."""
        self._interval_seconds = interval_seconds
        self._now_ms = now_ms
        self._last: Publication | None = None
        self._points: deque[Point] = deque(maxlen=POINTS_MAX)
        self._events: deque[Happening] = deque(maxlen=EVENTS_MAX)
        self._watcher = Watcher()
        self._prepared: Prepared | None = None

    def observe(self, publication: Publication) -> None:
        """Take what was published."""
        if self._last is not None:
            self._points.append(_point(self._last, publication))
        self._events.extend(self._watcher.observe(publication))
        self._last = publication
        self._prepared = None

    def note(self, kind: str, text: str) -> None:
        """Add an event that no reading shows."""
        self._events.append(Happening(self._now_ms(), kind, text))
        self._prepared = None

    def document(self) -> Prepared:
        """Return the History as JSON."""
        if self._prepared is None:
            columns = {
                name: [getattr(point, name) for point in self._points]
                for name in Point.__struct_fields__
            }
            history = History(self._interval_seconds, **columns, events=list(self._events))
            self._prepared = Prepared(msgspec.json.encode(history))
        return self._prepared


def _point(before: Publication, now: Publication) -> Point:
    seconds = max(1, now.now_ns - before.now_ns) / 1e9

    def rate(counter: str) -> float:
        counted = now.reading.gateways[counter] - before.reading.gateways[counter]
        return round(max(0, counted) / seconds, 3)

    def percentiles(name: str) -> tuple[float | None, float | None]:
        return _percentiles_ms(now.reading.latency[name] - before.reading.latency[name])

    return Point(
        now.snapshot.snapshot.generated_at_ms,
        rate("jobs_completed_total"),
        rate("jobs_failed_total"),
        *percentiles("dispatch"),
        *percentiles("end_to_end"),
        queued=now.snapshot.scheduler.jobs.queued,
        in_flight=now.snapshot.scheduler.jobs.in_flight,
        sessions=now.snapshot.web_clients.active_users,
        nodes=now.snapshot.nodes.connected_nodes,
    )


def _percentiles_ms(counts: Int64s) -> tuple[float | None, float | None]:
    counts = np.maximum(counts, 0)
    if not counts.any():
        return None, None
    return round(percentile_ns(counts, 0.5) / 1e6, 3), round(percentile_ns(counts, 0.99) / 1e6, 3)
