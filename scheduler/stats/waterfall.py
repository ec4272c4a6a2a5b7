"""Where the time of jobs goes: the stages between socket and socket, merged from all gateways."""

import msgspec
from msgspec import Struct

from scheduler.memory.histogram import mean_ns, percentile_ns
from scheduler.memory.layout import GATEWAY_LATENCY, LATENCY_SUMS
from scheduler.stats.publisher import Publication
from scheduler.stats.reading import Int64s
from scheduler.stats.responses import Prepared

_HELP = {column.name.removesuffix("_ns"): column.help for column in GATEWAY_LATENCY.columns}


class Stage(Struct, frozen=True):
    """One stage, `what` from where to where; figures are null where no job passed it."""

    name: str
    what: str
    count: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class Waterfall(Struct, frozen=True):
    """The stages in their order, then `sums` of them; since the start and in the last interval."""

    generated_at_ms: int
    interval_s: float
    stages: list[Stage]
    sums: list[Stage]
    interval_stages: list[Stage]
    interval_sums: list[Stage]


class WaterfallKeeper:
    """Makes the Waterfall of the last two publications, when somebody asks for it first."""

    def __init__(self) -> None:
        self._last: Publication | None = None
        self._before: Publication | None = None
        self._prepared: Prepared | None = None

    def observe(self, publication: Publication) -> None:
        """Take what was published."""
        self._before, self._last = self._last, publication
        self._prepared = None

    def document(self) -> Prepared | None:
        """Return the Waterfall as JSON, None before the first publication."""
        if self._prepared is None and self._last is not None:
            self._prepared = Prepared(msgspec.json.encode(_waterfall(self._before, self._last)))
        return self._prepared


def _waterfall(before: Publication | None, now: Publication) -> Waterfall:
    latency = now.reading.latency
    whole = [_stage(name, counts) for name, counts in latency.items()]
    interval = [
        _stage(name, counts if before is None else counts - before.reading.latency[name])
        for name, counts in latency.items()
    ]
    since_ns = now.reading.started_ns if before is None else before.now_ns
    return Waterfall(
        generated_at_ms=now.snapshot.snapshot.generated_at_ms,
        interval_s=round((now.now_ns - since_ns) / 1e9, 3),
        stages=[stage for stage in whole if stage.name not in LATENCY_SUMS],
        sums=[stage for stage in whole if stage.name in LATENCY_SUMS],
        interval_stages=[stage for stage in interval if stage.name not in LATENCY_SUMS],
        interval_sums=[stage for stage in interval if stage.name in LATENCY_SUMS],
    )


def _stage(name: str, counts: Int64s) -> Stage:
    total = int(counts.sum())
    if not total:
        return Stage(name, _HELP[name], 0, None, None, None, None)
    figures = (mean_ns(counts), *(percentile_ns(counts, share) for share in (0.5, 0.9, 0.99)))
    return Stage(name, _HELP[name], total, *(round(figure / 1e6, 3) for figure in figures))
