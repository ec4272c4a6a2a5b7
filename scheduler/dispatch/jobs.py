"""A job as the dispatcher sees it, and the queue of jobs that wait for a node."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import Announce, Submit

if TYPE_CHECKING:
    from scheduler.dispatch.nodes import Node
    from scheduler.dispatch.placement import RequirementClass

_LOOK_AHEAD = 8
"""Queued jobs looked at for one that may run on a freed node; the first nearly always may."""

_URGENT = 1 << 60


class Job:
    """An accepted job without a terminal outcome: it runs on `node`, or waits in a backlog."""

    # Class attributes, not assignments in __init__: most jobs never change most of these, and
    # making a job is a tenth of what placing it costs.
    attempt = 0
    node: "Node | None" = None
    started_ns = 0
    deadline_ns = 0
    order = 0
    excluded: tuple[int, ...] = ()
    """References of the nodes that failed this job."""
    lost_on = NO_NODE
    """The node that held the last attempt when its connection was lost."""
    cause: "Cause | None" = None
    """Why the last attempt ended."""

    def __init__(
        self,
        gateway: int,
        record: Submit | Announce,
        service_class: "RequirementClass",
        now_ns: int,
    ) -> None:
        """`gateway` is the one that accepted the job."""
        self.key = record.job
        self.owner = gateway
        self.service_class = service_class
        self.paired = record.paired
        self.avoid = record.avoid
        self.payload = record.payload
        self.submitted_ns = now_ns

    def may_run_on(self, node: "Node") -> bool:
        """Whether this job may run on `node`, free slots aside."""
        if self.paired not in {NO_NODE, node.ref}:
            return False
        return node.ref not in self.excluded and node.fits(self.service_class.mask)


class Cause:
    """Why an attempt ended; the last one is what the session is told."""

    __slots__ = ("code", "error", "message")

    def __init__(self, code: str, message: str, error: bytes = b"") -> None:
        self.code = code
        self.message = message
        self.error = error


class Backlog:
    """Jobs of one kind waiting for a node: those that failed over first, then by arrival."""

    __slots__ = ("_jobs", "_urgent")

    def __init__(self) -> None:
        # OrderedDict, not dict: taking from the front of a dict gets slower with each taking.
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._urgent: OrderedDict[int, Job] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs) + len(self._urgent)

    def __iter__(self) -> Iterator[Job]:
        yield from self._urgent.values()
        yield from self._jobs.values()

    def add(self, job: Job, sequence: int) -> None:
        """Queue `job`; `sequence` grows with each call."""
        if job.attempt:
            job.order = sequence - _URGENT
            self._urgent[job.key] = job
        else:
            job.order = sequence
            self._jobs[job.key] = job

    def remove(self, job: Job) -> None:
        """Take `job` out, from wherever it stands."""
        del (self._urgent if job.order < 0 else self._jobs)[job.key]

    def urgent(self, most: int) -> list[Job]:
        """Return the first `most` jobs that failed over."""
        return list(islice(self._urgent.values(), most))

    def first_for(self, node: "Node") -> Job | None:
        """Return the first job that may run on `node`."""
        for jobs in (self._urgent, self._jobs):
            for job in islice(jobs.values(), _LOOK_AHEAD):
                if job.may_run_on(node):
                    return job
        return None
