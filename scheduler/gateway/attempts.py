"""The attempts that one node works on, and which of its results count."""

from collections import OrderedDict
from collections.abc import Iterator

from scheduler.gateway.context import GatewayContext
from scheduler.protocol.ids import parse_wire_job_id
from scheduler.protocol.records import RunningAttempt

_RECENT_MAX = 256
"""Ended attempts remembered, to tell a late result from a forged one."""


class Attempts:
    """What was sent to the node and has not ended; a node works on a job once at a time."""

    def __init__(self, context: GatewayContext) -> None:
        self._epoch = context.epoch
        self._counters = context.counters
        self._running: dict[int, int] = {}
        self._recent: OrderedDict[tuple[int, int], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[RunningAttempt]:
        for job, attempt in self._running.items():
            yield RunningAttempt(job, attempt)

    def start(self, job: int, attempt: int) -> None:
        """The node was sent a job."""
        self._running[job] = attempt

    def end(self, job: int, attempt: int) -> bool:
        """Return whether the node worked on that attempt; it does so no longer."""
        if self._running.get(job) != attempt:
            return False
        del self._running[job]
        self._recent[job, attempt] = None
        if len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)
        return True

    def find(self, job_id: str) -> int | None:
        """Return the job of that id on the wire if the node works on it."""
        job = parse_wire_job_id(self._epoch, job_id)
        return job if job in self._running else None

    def take_result(self, job_id: str, attempt: int) -> int | None:
        """End the attempt that a result is of and return its job; None: it counts no more."""
        job = parse_wire_job_id(self._epoch, job_id)
        if job is not None and self.end(job, attempt):
            return job
        late = job is not None and (job in self._running or (job, attempt) in self._recent)
        self._counters.add("results_stale_total" if late else "results_spoofed_total")
        return None
