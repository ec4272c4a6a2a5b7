"""Jobs that wait for a node: a backlog per requirement class and per paired node."""

from collections import OrderedDict

from scheduler.config import LimitSettings
from scheduler.dispatch.backlog import Backlog
from scheduler.dispatch.fairness import Shares, VirtualClock
from scheduler.dispatch.jobs import Job, Order
from scheduler.dispatch.nodes import Node
from scheduler.protocol.ids import NO_NODE

_NOBODY_WAITS = Backlog()


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
        self._shares = Shares()
        """Of the fresh jobs of all backlogs."""
        self._clock = VirtualClock()
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job.key in self._jobs

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
        return self._full_backlog_of(job) is not None or len(self._jobs) >= self._total_max

    def victim_for(self, job: Job) -> Job | None:
        """Return a waiting job that is to make room for `job`, None: `job` must be refused.

        It is one of those that are in the way: of the job's own backlog where that is full, else
        of all.
        """
        backlog = self._full_backlog_of(job)
        return (self._shares if backlog is None else backlog).victim_for(job)

    def _full_backlog_of(self, job: Job) -> Backlog | None:
        if job.paired == NO_NODE:
            backlog = job.service_class.backlog
        else:
            backlog = self._paired.get(job.paired, _NOBODY_WAITS)
        return backlog if len(backlog) >= self._per_backlog_max else None

    def add(self, job: Job, deadline_ns: int) -> None:
        """Let `job` wait until `deadline_ns`."""
        self._sequence += 1
        record = job.record
        tag = self._clock.tag(record.flow, record.weight)
        job.order = (0 if job.attempt else 1, -record.priority, tag, self._sequence)
        job.deadline_ns = deadline_ns
        self._jobs[job.key] = job
        if not job.attempt:
            self._shares.add(job)
        if job.paired == NO_NODE:
            job.service_class.backlog.add(job)
        else:
            self._paired.setdefault(job.paired, Backlog()).add(job)

    def take(self, job: Job) -> None:
        """Take out a job that is served: the others' turns follow from its own."""
        self._clock.serve(job.order[2])
        self.remove(job)

    def remove(self, job: Job) -> None:
        """Take out a waiting job."""
        del self._jobs[job.key]
        self._clock.leave(job.record.flow)
        if not job.attempt:
            self._shares.remove(job)
        if job.paired == NO_NODE:
            job.service_class.backlog.remove(job)
            return
        backlog = self._paired[job.paired]
        backlog.remove(job)
        if not backlog:
            del self._paired[job.paired]

    def next_for(self, node: Node) -> Job | None:
        """Return the waiting job that is next among those that `node` may run."""
        backlogs = [c.backlog for c in node.classes if c.backlog]
        paired = self._paired.get(node.ref)
        if paired is not None:
            backlogs.append(paired)
        heads = [job for backlog in backlogs if (job := backlog.first_for(node))]
        return min(heads, key=_order, default=None)

    def next_paired_with(self, node: Node) -> Job | None:
        """Return the waiting job that is next among those that only `node` may run."""
        paired = self._paired.get(node.ref)
        return paired.first_for(node) if paired is not None else None

    def paired_with(self, ref: int) -> list[Job]:
        """Return the jobs that only the node `ref` may run."""
        backlog = self._paired.get(ref)
        return list(backlog) if backlog is not None else []


def _order(job: Job) -> Order:
    return job.order
