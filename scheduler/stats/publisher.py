"""Makes a snapshot each refresh and hands it to the stores."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from scheduler.config import Config
from scheduler.stats.catalog import ServiceCatalogue
from scheduler.stats.health import HealthReader
from scheduler.stats.reading import MemoryReader, Reading
from scheduler.stats.schema import Origin, Snapshot, StatsCounters
from scheduler.stats.snapshot import encode, make_snapshot
from scheduler.stats.store import SnapshotStore

log = structlog.get_logger(__name__)

_COMPLAINT_INTERVAL_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Publication:
    """A snapshot, what it was made of and when (`now_ns`, monotonic), and its bytes."""

    reading: Reading
    snapshot: Snapshot
    data: bytes
    now_ns: int


Observer = Callable[[Publication], None]
"""Told of each publication from the event loop; has to be quick."""


class Publisher:
    """The last snapshot and what became of it.

    `served` is written at once and has to be quick; `saved` may block, so it is written from a
    thread, and a write that hangs costs the writes after it, not the process.
    """

    def __init__(
        self,
        config: Config,
        reader: MemoryReader,
        health: HealthReader,
        catalogue: ServiceCatalogue,
        *,
        served: SnapshotStore,
        saved: SnapshotStore,
        source: str,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._limits = config.scheduler.load_balancer
        self._reader = reader
        self._health = health
        self._catalogue = catalogue
        self._served = served
        self._saved = saved
        self._source = source
        self._observers = observers
        self._saving: asyncio.Future[None] | None = None
        self._complained_ns = 0
        self._published_ns = 0
        self._snapshots_total = 0
        self._writes_failed_total = 0
        self._torn_rows_total = 0

    def publish(self) -> None:
        """Make a snapshot, serve it and begin to save it."""
        publication = self._make()
        data = publication.data
        self._served.publish(data)
        self._published_ns = time.monotonic_ns()
        for observe in self._observers:
            observe(publication)
        if self._saving is not None:
            self._complain("the write before it has not ended")
            return
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._saved.publish, data))
        self._saving.add_done_callback(self._finish_saving)

    async def wait_saved(self, timeout_seconds: float) -> None:
        """Wait for the write that is under way, if any, but no longer than that."""
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=timeout_seconds)

    def age_ns(self) -> int:
        """Return the age of the snapshot that is served."""
        return time.monotonic_ns() - self._published_ns

    def counters(self) -> StatsCounters:
        """Return what was done so far."""
        return StatsCounters(
            self._snapshots_total, self._writes_failed_total, self._torn_rows_total
        )

    def _make(self) -> Publication:
        now_ns = time.monotonic_ns()
        reading = self._reader.read()
        self._snapshots_total += 1
        self._torn_rows_total += reading.torn_rows
        snapshot = make_snapshot(
            reading,
            processes=self._health.read(now_ns),
            services=self._catalogue.services(),
            catalogue=self._catalogue.state(),
            stats=self.counters(),
            limits=self._limits,
            origin=Origin(time.time_ns() // 1_000_000, self._snapshots_total, self._source),
            now_ns=now_ns,
        )
        return Publication(reading, snapshot, encode(snapshot), now_ns)

    def _finish_saving(self, saving: asyncio.Future[None]) -> None:
        self._saving = None
        error = None if saving.cancelled() else saving.exception()
        if isinstance(error, OSError):
            self._complain(str(error))
        elif error is not None:
            raise error

    def _complain(self, problem: str) -> None:
        self._writes_failed_total += 1
        now_ns = time.monotonic_ns()
        if not self._complained_ns or now_ns - self._complained_ns > _COMPLAINT_INTERVAL_NS:
            self._complained_ns = now_ns
            log.warning(
                "snapshot not saved", problem=problem, failures_total=self._writes_failed_total
            )
