"""Follows the scheduler that runs in a runtime folder, by its shared memory alone.

Nothing is asked of any process, so that it works while one of them is stuck or dead.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from scheduler.memory.layout import CLASSES, GATEWAY_COUNTERS
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.stats.health import HealthReader
from scheduler.stats.reading import Int64s, MemoryReader, Reading, Words
from scheduler.stats.schema import ProcessHealth

MEMORY_NAME = "memory"
"""Of the link in the runtime folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `now_ns` is monotonic.

    `gateways` has the columns of `gateway_counters`, shape (gateways,). `class_services` has
    shape (classes, SERVICE_WORDS) and `class_queued` (classes,), of classes in use alone.
    """

    epoch: str
    now_ns: int
    now_ms: int
    reading: Reading
    gateways: dict[str, Int64s]
    class_services: Words
    class_queued: Int64s
    processes: list[ProcessHealth]


class Attached:
    """The segment of one run of the scheduler, mapped read-only until its views are gone."""

    def __init__(self, path: Path) -> None:
        """`path` is the link's; raises LayoutError where no scheduler of this version runs."""
        self.segment = Segment.open(path)
        self.views: Views = self.segment.views
        self._reader = MemoryReader(self.views)
        self._health = HealthReader(self.views, self.segment.dimensions.gateways)

    def sample(self) -> Sample:
        """Look now."""
        column = self.views.column
        active = column(CLASSES.name, "active") != 0
        now_ns = time.monotonic_ns()
        return Sample(
            epoch=self.segment.epoch,
            now_ns=now_ns,
            now_ms=time.time_ns() // 1_000_000,
            reading=self._reader.read(),
            gateways={
                name.name: column(GATEWAY_COUNTERS.name, name.name).copy()
                for name in GATEWAY_COUNTERS.columns
            },
            class_services=column(CLASSES.name, "services")[active],
            class_queued=column(CLASSES.name, "queued")[active],
            processes=self._health.read(now_ns),
        )


class Watcher:
    """Attached to whatever scheduler runs in the folder, to the next one when that has ended."""

    def __init__(self, runtime_dir: Path) -> None:
        self.path = runtime_dir / MEMORY_NAME
        self._attached: Attached | None = None

    def look(self) -> Sample:
        """Return how things stand; raise LayoutError where no scheduler of this version runs."""
        if self._attached is not None and not self._is_current(self._attached.segment):
            self.close()
        if self._attached is None:
            self._attached = Attached(self.path)
        return self._attached.sample()

    def _is_current(self, segment: Segment) -> bool:
        """Return whether the link still leads to our segment.

        It leads nowhere once the supervisor is gone, while our mapping stays as it was then.
        """
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(segment.fd))
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the memory."""
        if self._attached is not None:
            self._attached.segment.close()
            self._attached = None
