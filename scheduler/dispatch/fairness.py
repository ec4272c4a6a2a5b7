"""Fair queueing: who is served next, and who goes without where the queue is full.

A flow is what must not starve others: a tenant, or a session without one. Waiting jobs are tagged
as in start-time fair queueing (Goyal, Vin, Chen 1996): a job's tag is the virtual time at which it
would start if its flow had its weight's share to itself,

    tag = max(virtual time, tag of the flow's job before it + COST / weight)

and the least tag is served next. The virtual time is the tag of the job served last. A flow with
many jobs gets tags far ahead, so that another one's first job goes before them; flows with one job
each are served as they came. Priorities come before all that: a level is served only while none
above it waits.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.dispatch.jobs import Job

COST = 1 << 20
"""Of a job, for a flow of weight 1. Integers, so that the same jobs are served in the same order
everywhere."""


class VirtualClock:
    """Tags jobs as they begin to wait. Knows flows only while jobs of theirs wait."""

    def __init__(self) -> None:
        self._now = 0
        self._waiting: dict[int, int] = {}
        self._last_tag: dict[int, int] = {}

    def tag(self, flow: int, weight: int) -> int:
        """Return the tag of a job of `flow` that begins to wait."""
        tag = self._now
        if flow in self._last_tag:
            tag = max(tag, self._last_tag[flow] + COST // weight)
        self._last_tag[flow] = tag
        self._waiting[flow] = self._waiting.get(flow, 0) + 1
        return tag

    def leave(self, flow: int) -> None:
        """A job of `flow` waits no longer."""
        self._waiting[flow] -= 1
        if not self._waiting[flow]:
            del self._waiting[flow]
            del self._last_tag[flow]

    def serve(self, tag: int) -> None:
        """A job with that tag is served."""
        self._now = max(self._now, tag)


class Flows:
    """Waiting jobs by flow; knows the flow with most at any time."""

    def __init__(self) -> None:
        self._jobs: dict[int, OrderedDict[int, Job]] = {}
        self._by_length: dict[int, dict[int, None]] = {}
        self._longest = 0

    def __bool__(self) -> bool:
        return self._longest > 0

    def length(self, flow: int) -> int:
        """Return how many jobs of `flow` wait."""
        return len(self._jobs.get(flow, ()))

    @property
    def longest(self) -> int:
        """How many jobs wait of the flow with most."""
        return self._longest

    def add(self, job: "Job") -> None:
        """Take in a job, the newest of its flow."""
        flow = job.record.flow
        jobs = self._jobs.setdefault(flow, OrderedDict())
        self._move(flow, len(jobs), len(jobs) + 1)
        jobs[job.key] = job
        self._longest = max(self._longest, len(jobs))

    def remove(self, job: "Job") -> None:
        """Let a job go."""
        flow = job.record.flow
        jobs = self._jobs[flow]
        self._move(flow, len(jobs), len(jobs) - 1)
        del jobs[job.key]
        if not jobs:
            del self._jobs[flow]
        while self._longest and self._longest not in self._by_length:
            self._longest -= 1

    def newest_of_longest(self) -> "Job":
        """Return the job that the flow with most can best do without."""
        flow = next(iter(self._by_length[self._longest]))
        jobs = self._jobs[flow]
        return jobs[next(reversed(jobs))]

    def _move(self, flow: int, before: int, now: int) -> None:
        if before:
            of_that_length = self._by_length[before]
            del of_that_length[flow]
            if not of_that_length:
                del self._by_length[before]
        if now:
            self._by_length.setdefault(now, {})[flow] = None


class Shares:
    """What each priority and flow takes of a queue: says who makes room where there is no more."""

    __slots__ = ("_flows",)

    def __init__(self) -> None:
        self._flows: dict[int, Flows] = {}
        """By priority; none is empty."""

    def add(self, job: "Job") -> None:
        """Take in a job, the newest of its flow."""
        self._flows.setdefault(job.record.priority, Flows()).add(job)

    def remove(self, job: "Job") -> None:
        """Let a job go."""
        flows = self._flows[job.record.priority]
        flows.remove(job)
        if not flows:
            del self._flows[job.record.priority]

    def victim_for(self, job: "Job") -> "Job | None":
        """Return the job that is to make room for `job`, None: it has to go itself.

        That is the newest one of the flow with most jobs, of the lowest priority there is; of the
        same priority only where that flow would still have more than the job's own.
        """
        priority = min(self._flows, default=job.record.priority)
        if priority > job.record.priority or priority not in self._flows:
            return None
        flows = self._flows[priority]
        if priority == job.record.priority:
            own = flows.length(job.record.flow)
            if own + 1 >= flows.longest:
                return None
        return flows.newest_of_longest()
