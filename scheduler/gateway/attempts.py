"""The attempts that one node works on, and which of its results count."""

from collections import OrderedDict
from collections.abc import Iterator

from scheduler.gateway.context import GatewayContext
from scheduler.protocol.ids import parse_wire_job_id
from scheduler.protocol.records import RunningAttempt

_RECENT_MAX = 256
"""Ended and refused attempts remembered, to tell a late result from a forged one."""


class _Running:
    """An attempt that the node works on."""

    __slots__ = ("attempt", "heard_of", "sent_ns")

    def __init__(self, attempt: int, sent_ns: int) -> None:
        self.attempt = attempt
        self.sent_ns = sent_ns
        self.heard_of = False
        """There was text of it already."""


class Attempts:
    """What was sent to the node and has not ended; a node works on a job once at a time."""

    def __init__(self, context: GatewayContext) -> None:
        self._epoch = context.epoch
        self._counters = context.counters
        self._stages = context.stages
        self._running: dict[int, _Running] = {}
        self._recent: OrderedDict[tuple[int, int], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[RunningAttempt]:
        for job, running in self._running.items():
            yield RunningAttempt(job, running.attempt)

    def start(self, job: int, attempt: int, now_ns: int) -> None:
        """The node was sent a job."""
        self._running[job] = _Running(attempt, now_ns)

    def holds(self, job: int, attempt: int) -> bool:
        """Return whether the node works on that attempt."""
        running = self._running.get(job)
        return running is not None and running.attempt == attempt

    def end(self, job: int, attempt: int) -> bool:
        """Return whether the node worked on that attempt; it does so no longer."""
        if not self.holds(job, attempt):
            return False
        del self._running[job]
        self.refuse(job, attempt)
        return True

    def refuse(self, job: int, attempt: int) -> None:
        """The node may not work on that attempt, or no longer."""
        self._recent[job, attempt] = None
        if len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)

    def take_partial(self, job_id: str, read_ns: int) -> int | None:
        """Return the job that a text, read at `read_ns`, is of; None: it counts no more."""
        job = parse_wire_job_id(self._epoch, job_id)
        running = self._running.get(job) if job is not None else None
        if running is None:
            return None
        if not running.heard_of:
            running.heard_of = True
            self._stages.first_partial.record(read_ns - running.sent_ns)
        return job

    def take_result(self, job_id: str, attempt: int, read_ns: int) -> int | None:
        """End the attempt that a result, read at `read_ns`, is of and return its job.

        None: it counts no more.
        """
        job = parse_wire_job_id(self._epoch, job_id)
        running = self._running.get(job) if job is not None else None
        if job is not None and running is not None and self.end(job, attempt):
            self._stages.node.record(read_ns - running.sent_ns)
            return job
        late = job is not None and (job in self._running or (job, attempt) in self._recent)
        self._counters.add("results_stale_total" if late else "results_spoofed_total")
        return None
