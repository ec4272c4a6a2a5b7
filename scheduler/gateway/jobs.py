"""The jobs accepted by this gateway: it answers for each until one terminal outcome.

accepted = completed + failed + cancelled + live holds for the counters after every call.
"""

from collections.abc import Iterator
from typing import Protocol

import structlog

from scheduler.errors import ArenaFull
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.lease import LeaseKey
from scheduler.gateway.link import DispatcherLink
from scheduler.gateway.messages import busy
from scheduler.gateway.payloads import Payloads
from scheduler.gateway.results import ResultShelf
from scheduler.gateway.shares import Share
from scheduler.gateway.splice import ResultTail
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, job_key_base, wire_job_id
from scheduler.protocol.records import (
    Announce,
    ArenaRef,
    Assign,
    CancelJob,
    Deliver,
    Dispatched,
    Failed,
    PartialText,
    Submit,
)

_RESULT_LOST = "the result was lost inside the server"
_JOB_LOST = "the job was lost inside the server"

_LIFETIME_FACTOR = 2
_LIFETIME_SPARE_NS = 30_000_000_000
"""A job may live so many times as long as its deadlines sum up to, and this: they begin anew when
a dispatcher takes over."""


log = structlog.get_logger(__name__)


class JobOwner(Protocol):
    """The session that a job belongs to."""

    def job_dispatched(self, job: "Job") -> None:
        """The first attempt was sent to `job.node`."""

    def job_partial(self, job: "Job", message: bytes) -> None:
        """There is recognised text, a PartialBody as JSON."""

    def job_completed(self, job: "Job", tail: ResultTail) -> None:
        """The job ended with a result."""

    def job_failed(self, job: "Job", failed: Failed) -> None:
        """The job ended without one."""


class Job:
    """An unfinished job."""

    __slots__ = (
        "accepted_ns",
        "attempt",
        "audio_bytes",
        "avoid",
        "delivered_ns",
        "head",
        "key",
        "lease_key",
        "node",
        "owner",
        "paired",
        "payload",
        "requirement",
        "share",
        "trace_id",
        "utterance_index",
        "wire_id",
    )

    def __init__(
        self,
        owner: JobOwner,
        key: int,
        wire_id: str,
        utterance_index: int,
        trace_id: str,
        requirement: int,
        paired: int,
        avoid: int,
        share: Share,
    ) -> None:
        self.owner = owner
        self.key = key
        self.wire_id = wire_id
        self.utterance_index = utterance_index
        self.trace_id = trace_id
        self.requirement = requirement
        self.paired = paired
        self.avoid = avoid
        self.share = share
        self.lease_key: LeaseKey | None = None
        self.accepted_ns = 0
        self.delivered_ns = 0
        """When its result came here."""
        self.attempt = 0
        """The last attempt that this gateway was told of."""
        self.node = NO_NODE
        self.audio_bytes = 0
        self.head: bytes | None = None
        """The `job_assign` but for its attempt, or None where it lies at `payload`."""
        self.payload: ArenaRef | None = None


class JobDesk:
    """All unfinished jobs of this gateway."""

    def __init__(
        self,
        context: GatewayContext,
        link: DispatcherLink,
        payloads: Payloads,
        results: ResultShelf,
    ) -> None:
        self._context = context
        self._counters = context.counters
        self._link = link
        self._payloads = payloads
        self._results = results
        self._jobs: dict[int, Job] = {}
        timeouts = context.config.scheduler.job_timeout
        deadlines_seconds = timeouts.failover_max_attempts * (
            timeouts.pending_timeout_seconds + context.config.scheduler.job_timeout_seconds
        )
        self._lifetime_ns = _LIFETIME_FACTOR * round(deadlines_seconds * 1e9) + _LIFETIME_SPARE_NS
        self._next_key = job_key_base(context.index, context.incarnation)
        link.route(
            {
                Dispatched: self._dispatched,
                Deliver: self._deliver,
                Failed: self._failed,
                PartialText: self._partial,
            }
        )

    def __len__(self) -> int:
        return len(self._jobs)

    def draft(
        self,
        owner: JobOwner,
        utterance_index: int,
        trace_id: str,
        requirement: int,
        *,
        paired: int,
        avoid: int,
        share: Share,
    ) -> Job:
        """Return a job with its ids, not yet accepted."""
        self._next_key += 1
        return Job(
            owner,
            self._next_key,
            wire_job_id(self._context.epoch, self._next_key),
            utterance_index,
            trace_id,
            requirement,
            paired,
            avoid,
            share,
        )

    def accept(self, job: Job, head: bytes) -> None:
        """Take the job on and submit it; `head` is its `job_assign` but for the attempt.

        Raises PeerError SERVER_BUSY; then nothing was accepted.
        """
        self._context.check_memory()
        if self._link.is_busy:
            raise busy("the dispatcher is behind")
        try:
            if self._payloads.shared:
                job.payload = self._payloads.put(head)
            else:
                self._payloads.hold(len(head))
                job.head = head
        except ArenaFull:
            raise busy("the payload memory is full (limits.arena_bytes)") from None
        job.accepted_ns = self._context.now_ns
        self._jobs[job.key] = job
        self._counters.add("jobs_accepted_total")
        self._counters.set("jobs_live", len(self._jobs))
        self._link.send(
            Submit(job.key, job.requirement, job.paired, job.avoid, job.payload, *job.share)
        )

    def cancel(self, job: Job, reason: Cancellation) -> None:
        """Give up an unfinished job; its owner hears no more of it."""
        self._context.codes.add_cancelled(reason)
        self._end(job, "jobs_cancelled_total")
        self._link.send(CancelJob(job.key, reason.value))

    def sweep(self) -> None:
        """Show how old the oldest job is, and fail what has outlived every deadline there is.

        That takes a fault of ours: the dispatcher ends each job that it knows of in time.
        """
        oldest_ns, over_ns = 0, self._context.now_ns - self._lifetime_ns
        while self._jobs:
            job = next(iter(self._jobs.values()))
            oldest_ns = job.accepted_ns
            if oldest_ns > over_ns:
                break
            oldest_ns = 0
            log.error("job without an outcome", job_id=job.wire_id, trace_id=job.trace_id)
            self._counters.add("jobs_overdue_total")
            self._link.send(CancelJob(job.key, "the job was lost inside the server"))
            self._failed(Failed(job.key, ErrorCode.INTERNAL_ERROR, _JOB_LOST, 0, {}, b""))
        self._counters.set("oldest_job_ns", oldest_ns)

    def head_of(self, record: Assign) -> bytes | None:
        """Return the `job_assign` for an assignment, None where the job is over."""
        if record.payload is not None:
            return self._payloads.fetch(record.payload)
        job = self._jobs.get(record.job)
        if job is None:
            return None
        return job.head if job.payload is None else self._payloads.fetch(job.payload)

    def assigned(self, record: Assign) -> None:
        """Note that a job of this gateway went to a node of this gateway."""
        job = self._jobs.get(record.job)
        if job is not None:
            self._went_to_node(job, record)

    def _dispatched(self, record: Dispatched) -> None:
        job = self._jobs.get(record.job)
        if job is not None:
            self._went_to_node(job, record)

    def _went_to_node(self, job: Job, record: Assign | Dispatched) -> None:
        first = job.attempt == 0
        job.attempt = record.attempt
        job.node = record.node
        if first:
            stages = self._context.stages
            stages.submit.record(record.submitted_ns - job.accepted_ns)
            stages.queue.record(record.reserved_ns - record.submitted_ns)
            stages.dispatch.record(self._context.now_ns - job.accepted_ns)
            job.owner.job_dispatched(job)

    def partial(self, key: int, node: int, message: bytes) -> None:
        """Pass text that `node` recognised to the session of a job of this gateway."""
        job = self._jobs.get(key)
        if job is not None and job.node == node:
            self._pass_on(job, message)

    def _partial(self, record: PartialText) -> None:
        job = self._jobs.get(record.job)
        if job is not None:  # the dispatcher has looked whose text it is
            self._pass_on(job, record.message)

    def _pass_on(self, job: Job, message: bytes) -> None:
        self._counters.add("partials_total")
        job.owner.job_partial(job, message)

    def _deliver(self, record: Deliver) -> None:
        tail = self._collect(record)
        job = self._jobs.get(record.job)
        if job is None:
            return
        if tail is None:
            self._failed(Failed(job.key, ErrorCode.INTERNAL_ERROR, _RESULT_LOST, 0, {}, b""))
            return
        self._end(job, "jobs_completed_total")
        job.delivered_ns = self._context.now_ns
        self._context.stages.deliver.record(job.delivered_ns - record.received_ns)
        job.owner.job_completed(job, tail)

    def _collect(self, record: Deliver) -> ResultTail | None:
        """Take the result from where it lies, also where nobody wants it any more."""
        if record.payload is None:
            return self._results.take(record.job, record.attempt, record.node)
        payload = self._payloads.fetch(record.payload)
        self._payloads.release(record.payload)
        return ResultTail.decode(payload) if payload else None

    def _failed(self, record: Failed) -> None:
        job = self._jobs.get(record.job)
        if job is not None:
            self._context.codes.add_failed(record.code)
            self._end(job, "jobs_failed_total")
            job.owner.job_failed(job, record)

    def _end(self, job: Job, outcome: str) -> None:
        del self._jobs[job.key]
        if job.payload is not None:
            self._payloads.free(job.payload.block)
        if job.head is not None:
            self._payloads.let_go(len(job.head))
        self._counters.add(outcome)
        self._counters.set("jobs_live", len(self._jobs))

    def announcements(self) -> Iterator[Announce]:
        """Yield all unfinished jobs, for a new dispatcher."""
        for job in self._jobs.values():
            yield Announce(
                job.key,
                job.requirement,
                job.paired,
                job.avoid,
                job.payload,
                job.attempt,
                job.node,
                *job.share,
            )
