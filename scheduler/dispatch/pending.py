"""Jobs that wait for a node: a backlog per requirement class and per paired node."""

from collections import OrderedDict

from scheduler.config import LimitSettings
from scheduler.dispatch.jobs import Backlog, Job
from scheduler.dispatch.nodes import Node
from scheduler.protocol.ids import NO_NODE


class Pending:
    """All waiting jobs, in the order in which their deadlines fall due.

    All wait equally long, so that order is the order of `add`. A job waits in here once and in
    exactly one backlog.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._per_backlog_max = limits.pending_per_class_max
        self._total_max = limits.pending_total_max
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._paired: dict[int, Backlog] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def first(self) -> Job | None:
        """Return the job whose deadline is next."""
        return next(iter(self._jobs.values()), None)

    def is_full_for(self, job: Job) -> bool:
        """Whether a new job must be refused.

        One that failed over was accepted long ago and is taken back; the number of slots there
        are bounds how many of those can come.
        """
        if job.attempt:
            return False
        waiting = (
            len(self._paired.get(job.paired, ()))
            if job.paired != NO_NODE
            else len(job.service_class.backlog)
        )
        return waiting >= self._per_backlog_max or len(self._jobs) >= self._total_max

    def add(self, job: Job, deadline_ns: int) -> None:
        """Let `job` wait until `deadline_ns`."""
        self._sequence += 1
        job.deadline_ns = deadline_ns
        self._jobs[job.key] = job
        if job.paired == NO_NODE:
            job.service_class.backlog.add(job, self._sequence)
        else:
            self._paired.setdefault(job.paired, Backlog()).add(job, self._sequence)

    def remove(self, job: Job) -> None:
        """Take out a waiting job."""
        del self._jobs[job.key]
        if job.paired == NO_NODE:
            job.service_class.backlog.remove(job)
            return
        backlog = self._paired[job.paired]
        backlog.remove(job)
        if not backlog:
            del self._paired[job.paired]

    def next_for(self, node: Node) -> Job | None:
        """Return the longest waiting job that `node` may run."""
        backlogs = [c.backlog for c in node.classes if c.backlog]
        paired = self._paired.get(node.ref)
        if paired is not None:
            backlogs.append(paired)
        heads = [job for backlog in backlogs if (job := backlog.first_for(node))]
        return min(heads, key=_order, default=None)

    def next_paired_with(self, node: Node) -> Job | None:
        """Return the longest waiting job that only `node` may run."""
        paired = self._paired.get(node.ref)
        return paired.first_for(node) if paired is not None else None

    def paired_with(self, ref: int) -> list[Job]:
        """Return the jobs that only the node `ref` may run."""
        backlog = self._paired.get(ref)
        return list(backlog) if backlog is not None else []


def _order(job: Job) -> int:
    return job.order
