"""A job's way through the dispatcher, from submission to its one terminal record.

    Submit ──► place ──► Assign ──► Result ──► Deliver          (completed)
                 │  ▲       └─► Failure, timeout, node lost ──► place again, or Failed
                 ▼  │
              pending ──► Failed NO_AVAILABLE_NODE when its deadline passes

A job is in exactly one place: it holds a slot (`_running` and its node's `jobs`) or it waits
(`_pending`). It leaves `_jobs` with its terminal record. Pure: times are monotonic ns.
"""

from collections.abc import Callable

from scheduler.config import Config
from scheduler.dispatch.blame import Blame
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.decisions import DecisionLog
from scheduler.dispatch.jobs import Cause, Job
from scheduler.dispatch.misses import Misses
from scheduler.dispatch.nodes import NOBODY, Node, NodeTable
from scheduler.dispatch.pace import Pace
from scheduler.dispatch.pending import Pending
from scheduler.dispatch.placement import Placement, RequirementClass
from scheduler.dispatch.services import ServiceIndex
from scheduler.dispatch.settings import NS_PER_SECOND, Deadlines
from scheduler.dispatch.tables import Tables
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import (
    TIMED_OUT,
    Announce,
    Assign,
    AttemptLost,
    CancelAttempt,
    CancelJob,
    Deliver,
    Discard,
    Dispatched,
    Failed,
    Failure,
    Partial,
    PartialText,
    Result,
    Submit,
    ToGateway,
)

_EXPIRED_PER_TICK_MAX = 256
"""Bounds one turn when thousands of deadlines pass at once."""

_HIDDEN_PER_REFRESH_MAX = 64
"""Failed-over jobs of a class that look for a node themselves, ten times a second."""

ELSEWHERE = frozenset(
    {
        ErrorCode.MODEL_NOT_AVAILABLE,
        ErrorCode.NODE_OVERLOADED,
        ErrorCode.NODE_UNAVAILABLE,
        ErrorCode.MODEL_LOAD_FAILED,
        ErrorCode.MODEL_CORRUPTED,
        ErrorCode.MODEL_VERIFY_FAILED,
    }
)
"""Codes that speak of the node, not of the job: another node may well do it."""

_PAIRED_NODE_GONE = Cause(ErrorCode.NODE_UNAVAILABLE, "the paired node is gone")
_NO_NODE_IN_TIME = Cause(ErrorCode.NO_AVAILABLE_NODE, "no node could take the job in time")

Note = Callable[[str, str], None]
"""Keeps an event for operators: kind and text."""


class JobFlow:
    """All unfinished jobs. `outbox[gateway]` takes what is to be said."""

    def __init__(
        self,
        config: Config,
        tables: Tables,
        table: NodeTable,
        services: ServiceIndex,
        placement: Placement,
        outbox: list[list[ToGateway]],
        counts: Counts,
        note: Note,
    ) -> None:
        self._tables = tables
        self._table = table
        self._services = services
        self._placement = placement
        self._outbox = outbox
        self._counts = counts
        self._note = note
        self._timeouts = config.scheduler.job_timeout
        self._deadlines = Deadlines.of(config)
        self._blame = Blame(config.scheduler, tables, table, services, placement, counts, note)
        self._pending = Pending(config.limits)
        self._pace = Pace(tables, placement, self._pending, counts)
        balance = config.scheduler.load_balancer
        self._decisions = DecisionLog(tables, placement, counts, balance.shadow_strategy)
        self._misses = Misses(tables, balance, self._decisions, counts)
        self._class_of_requirement: dict[int, RequirementClass] = {}
        self._jobs: dict[int, Job] = {}
        # Attempts start in this order and all may take equally long: the first is the next due.
        self._running: dict[int, Job] = {}
        self._attempt_due_ns = 0
        self._expired = 0
        self._unserved: list[Node] = []
        """Nodes whose turn ended among jobs that had waited for too long."""

    def tick(self, now_ns: int) -> None:
        """End what has waited or run for too long, a bounded number from call to call."""
        self._expired = 0
        if self._pending:
            self._expire_waiting(now_ns)
        if self._running and now_ns >= self._attempt_due_ns:
            self._expire_attempts(now_ns)
        if self._unserved:
            unserved, self._unserved = self._unserved, []
            for node in unserved:
                self.serve(node, now_ns)

    @property
    def is_behind(self) -> bool:
        """Whether some that were due are left to the next tick."""
        return self._expired >= _EXPIRED_PER_TICK_MAX

    def refresh(self, now_ns: int) -> None:
        """Lift marks whose time is over, and forget figures that are no longer true."""
        self._misses.refresh()
        self._decisions.refresh()
        unmarked, freed = self._blame.refresh(now_ns)
        for node in unmarked:
            self.refit(node, now_ns)
        for node in freed:
            self.serve(node, now_ns)
        for service_class in self._placement.classes:
            for job in service_class.backlog.urgent(_HIDDEN_PER_REFRESH_MAX):
                self._start_hidden(job, now_ns)
        self._pace.refresh(now_ns)

    def _start_hidden(self, job: Job, now_ns: int) -> None:
        """Start a job that a free node did not find behind too many that had failed on it."""
        node = self._choose_restricted(job)
        if node is not None and job.deadline_ns > now_ns:
            self._pending.take(job)
            self._start(job, node, now_ns, Outcome.SERVED)

    def update_gauges(self) -> None:
        """Bring the gauges among the counts and the tables up to date."""
        counts = self._counts
        counts.in_flight = len(self._running)
        counts.queued = len(self._pending)
        oldest = self._pending.first()
        counts.oldest_queued_ns = oldest.submitted_ns if oldest else 0
        for service_class in self._placement.classes:
            self._tables.class_queued[service_class.index] = len(service_class.backlog)

    # --- a job's way ---------------------------------------------------------------------

    def submit(self, gateway: int, record: Submit, now_ns: int) -> None:
        """Take in a new job; a job that is known already is not taken twice."""
        if record.job in self._jobs:
            return
        self._counts.submitted_total += 1
        self.place(self._new_job(gateway, record, now_ns), now_ns)

    def _new_job(self, gateway: int, record: Submit | Announce, now_ns: int) -> Job:
        service_class = self._class_of_requirement.get(record.requirement)
        if service_class is None:
            service_class = self._bring_into_use(record.requirement)
        job = self._jobs[record.job] = Job(gateway, record, service_class, now_ns)
        return job

    def _bring_into_use(self, requirement: int) -> RequirementClass:
        mask = self._services.masks[requirement]
        service_class = self._placement.class_of(mask, self._table)
        self._class_of_requirement[requirement] = service_class
        return service_class

    def place(self, job: Job, now_ns: int) -> None:
        """Start the job on the least loaded node that may run it, or let it wait."""
        if job.paired == NO_NODE and job.avoid == NO_NODE and not job.excluded:
            slot = self._placement.choose(job.service_class)
            node = self._table.at(slot) if slot >= 0 else None
        else:
            node = self._choose_restricted(job)
        if node is not None:
            self._start(job, node, now_ns)
        else:
            self._enqueue(job, now_ns)

    def _choose_restricted(self, job: Job) -> Node | None:
        """Choose for a job that may not run on, or should not run on, just any node."""
        if job.paired != NO_NODE:
            node = self._table.by_ref(job.paired)
            if node is None or not job.may_run_on(node) or not node.has_slot_for_paired():
                return None
            return node
        # A row whose node has left the table since scores as infinite: passing over it is safe.
        excluded = [slot_of(ref) for ref in job.excluded if self._table.by_ref(ref)]
        slot = -1
        if job.avoid != NO_NODE and self._table.by_ref(job.avoid):
            slot = self._placement.choose(job.service_class, [*excluded, slot_of(job.avoid)])
        if slot < 0:
            slot = self._placement.choose(job.service_class, excluded)
        return self._table.at(slot) if slot >= 0 else None

    def _start(self, job: Job, node: Node, now_ns: int, outcome: Outcome = Outcome.PLACED) -> None:
        """Reserve a slot of `node` for `job` and send it there."""
        attempt = job.attempt = job.attempt + 1
        if self._decisions.budget > 0:
            self._decisions.placed(job, node, outcome, len(self._pending), now_ns)
        else:
            self._counts.decisions_unrecorded_total += 1
        node.turn = self._placement.next_turn()
        self._occupy(job, node, now_ns)
        self._counts.assigned_total += 1
        if attempt > 1:
            self._counts.failovers_total += 1
        payload = None
        if node.gateway != job.owner:
            payload = job.record.payload
            # Of each attempt: the owner must tell a new dispatcher which numbers are used up.
            self._outbox[job.owner].append(
                Dispatched(job.key, attempt, node.ref, job.submitted_ns, now_ns)
            )
        self._outbox[node.gateway].append(
            Assign(job.key, attempt, node.ref, payload, job.submitted_ns, now_ns)
        )

    def _occupy(self, job: Job, node: Node, now_ns: int) -> None:
        job.node = node
        job.started_ns = now_ns
        job.deadline_ns = now_ns + self._deadlines.attempt_ns
        self._running[job.key] = node.jobs[job.key] = job
        self._placement.rescore(node)

    def _release(self, job: Job) -> Node:
        """Give the job's slot back; return the node it was on."""
        node = job.node
        assert node is not None
        job.node = None
        del self._running[job.key]
        del node.jobs[job.key]
        self._placement.rescore(node)
        return node

    def finish(self, gateway: int, record: Result, now_ns: int) -> None:
        """End a job with its result, if it comes from the attempt that holds the job."""
        job = self._holding(record)
        if job is None:
            self._counts.stale_results_total += 1
            self._outbox[gateway].append(Discard(record.job, record.attempt, record.node))
            return
        node = self._release(job)
        if node.failures:
            node.failures = 0
        del self._jobs[job.key]
        self._counts.completed_total += 1
        self._outbox[job.owner].append(
            Deliver(job.key, job.attempt, record.node, record.payload, record.received_ns)
        )
        if self._pending:
            self.serve(node, now_ns)

    def _holding(self, record: Result | Failure | AttemptLost) -> Job | None:
        """Return the job if the record's node and attempt hold it now."""
        job = self._jobs.get(record.job)
        if job is None or job.node is None or job.attempt != record.attempt:
            return None
        return job if job.node.ref == record.node else None

    def fail_attempt(self, _: int, record: Failure, now_ns: int) -> None:
        """End an attempt; the job goes elsewhere if the failure speaks of the node."""
        self._blame.count(record)
        job = self._holding(record)
        if job is None:
            self._counts.stale_results_total += 1
            return
        node = self._release(job)
        if self._blame.failed(node, record, job.service_class, now_ns):
            self.refit(node, now_ns)
        cause = Cause(record.code, "the node failed the job", record.error)
        if record.code in ELSEWHERE:
            self._try_elsewhere(job, node, cause, now_ns)
        else:
            self._fail(job, cause)
        self.serve(node, now_ns)

    def lose_attempt(self, _: int, record: AttemptLost, now_ns: int) -> None:
        """Free a slot that no node works for: what its gateway says when it is audited."""
        job = self._holding(record)
        if job is None:
            return  # it ended meanwhile
        node = self._release(job)
        self._counts.audit_freed_total += 1
        self._tables.nodes.audit_freed_total[node.slot] += 1
        self._note("audit", f"{node.node_id} did not hold job {job.key:X}.{job.attempt}: freed")
        self._run_again(job, "the attempt was lost inside the server", now_ns)
        self.serve(node, now_ns)

    def refit(self, node: Node, now_ns: int) -> None:
        """Follow a change of the node's services or marks."""
        self._table.write_services(node)
        self._placement.refit(node)
        self.serve(node, now_ns)

    def _try_elsewhere(self, job: Job, node: Node, cause: Cause, now_ns: int) -> None:
        """Give the job another attempt on a node that has not failed it yet."""
        job.excluded += (node.ref,)
        job.cause = cause
        if (
            job.attempt < self._timeouts.failover_max_attempts
            and self._others_may(job)
            and self._blame.may_retry()
        ):
            self.place(job, now_ns)
        else:
            self._fail(job, cause)

    def _others_may(self, job: Job) -> bool:
        """Whether any node that has not failed the job serves its class, busy or not."""
        if job.paired != NO_NODE:
            return False
        failed = [self._table.by_ref(ref) for ref in job.excluded]
        members = [node for node in failed if node and job.service_class in node.classes]
        return job.service_class.members > len(members)

    def fit(self, node: Node, now_ns: int) -> None:
        """Follow a change of the node's capacity."""
        self._blame.fit(node, now_ns)

    def reclaim(self, key: int, attempt: int, node: Node, now_ns: int) -> bool:
        """Let a node that is back go on with an attempt that it had, if nobody else has begun.

        Returns whether it may. Only the node that held the attempt when it was lost has a claim.
        """
        job = self._jobs.get(key)
        if job is None or job.node is not None or job.attempt != attempt:
            return False
        if job.lost_on != node.ref or len(node.jobs) >= node.capacity:
            return False
        if job in self._pending:  # a dispatcher that takes over has not placed it yet
            self._pending.remove(job)
        self._occupy(job, node, now_ns)
        self._counts.reclaimed_total += 1
        return True

    def blame_for_leaving(self, node: Node, now_ns: int) -> None:
        """Hold it against the node that it went by itself while jobs ran on it."""
        if node.jobs:
            self._blame.let_down(node, now_ns)

    def fail_over_all(self, node: Node, now_ns: int) -> None:
        """The node is gone: its jobs run elsewhere, or here again should it come back."""
        for job in list(node.jobs.values()):
            self._release(job)
            job.lost_on = node.ref
            self._run_again(job, "the node that ran the job is gone", now_ns)

    def _run_again(self, job: Job, why: str, now_ns: int) -> None:
        """Give the job another attempt, on whatever node: none is to blame."""
        job.cause = Cause(ErrorCode.NODE_UNAVAILABLE, why)
        if job.attempt < self._timeouts.failover_max_attempts:
            self.place(job, now_ns)
        else:
            self._fail(job, job.cause)

    def _fail(self, job: Job, cause: Cause, excluded: dict[str, int] | None = None) -> None:
        """End a job that holds no slot and waits in no backlog.

        `excluded` counts the nodes per reason, where that there was none is what ended it. Such a
        job may be tried again later, and so may one that met SERVER_BUSY, wherever that was.
        """
        del self._jobs[job.key]
        self._counts.failed_total += 1
        again = excluded is not None or cause.code == ErrorCode.SERVER_BUSY
        retry_after_ms = self._pace.retry_after_ms(job) if again else 0
        self._outbox[job.owner].append(
            Failed(job.key, cause.code, cause.message, retry_after_ms, excluded or {}, cause.error)
        )

    def cancel(self, _: int, record: CancelJob, now_ns: int) -> None:
        """Give a job up, wherever it is; its owner is not answered."""
        job = self._jobs.pop(record.job, None)
        if job is None:
            return
        self._counts.cancelled_total += 1
        if job.node is None:
            self._pending.remove(job)
            return
        node = self._release(job)
        if node.gateway != NOBODY:
            self._outbox[node.gateway].append(
                CancelAttempt(job.key, job.attempt, node.ref, record.reason)
            )
        self.serve(node, now_ns)

    def pass_partial(self, _: int, record: Partial, _now_ns: int) -> None:
        """Hand recognised text on to the job's owner, if it comes from the job's node."""
        job = self._jobs.get(record.job)
        if job is not None and job.node is not None and job.node.ref == record.node:
            self._outbox[job.owner].append(PartialText(job.key, record.message))

    # --- waiting for a node --------------------------------------------------------------

    def _enqueue(self, job: Job, now_ns: int) -> None:
        if job.paired != NO_NODE and self._table.by_ref(job.paired) is None:
            self._fail(job, _PAIRED_NODE_GONE)
            return
        if self._pending.is_full_for(job):
            victim = self._pending.victim_for(job)
            if victim is None:
                self._shed(job, now_ns)
                return
            self._pending.remove(victim)
            self._counts.shed_total += 1
            self._shed(victim, now_ns)
        self._misses.record(job, Outcome.QUEUED, len(self._pending), now_ns)
        self._pending.add(job, now_ns + self._deadlines.pending_ns)

    def _shed(self, job: Job, now_ns: int) -> None:
        """Refuse a job for want of room in the queue."""
        self._counts.refused_queue_full_total += 1
        self._misses.count(self._misses.why(job))
        self._misses.record(job, Outcome.REFUSED, len(self._pending), now_ns)
        self._fail(job, Cause(ErrorCode.SERVER_BUSY, "too many jobs wait for a node"))

    def serve(self, node: Node, now_ns: int) -> None:
        """Give the node's free slots to jobs that wait, in their turn."""
        while self._pending:
            if node.has_free_slot():
                job = self._pending.next_for(node)
            elif node.has_slot_for_paired():
                job = self._pending.next_paired_with(node)
            else:
                return
            if job is None:
                return
            if job.deadline_ns > now_ns:
                self._pending.take(job)
                self._start(job, node, now_ns, Outcome.SERVED)
            elif not self.is_behind:
                self._expire(job, now_ns)
            else:
                self._unserved.append(node)
                return

    # --- time ----------------------------------------------------------------------------

    def _expire_attempts(self, now_ns: int) -> None:
        due: list[Job] = []
        for job in self._running.values():
            self._attempt_due_ns = job.deadline_ns
            if job.deadline_ns > now_ns or self.is_behind:
                break
            self._expired += 1
            due.append(job)
        for job in due:
            self._time_out(job, now_ns)

    def _time_out(self, job: Job, now_ns: int) -> None:
        self._counts.attempts_timed_out_total += 1
        node = self._release(job)
        self._blame.let_down(node, now_ns)
        self._outbox[node.gateway].append(CancelAttempt(job.key, job.attempt, node.ref, TIMED_OUT))
        seconds = self._deadlines.attempt_ns / NS_PER_SECOND
        cause = Cause(ErrorCode.JOB_TIMEOUT, f"no result within {seconds:g} s")
        self._try_elsewhere(job, node, cause, now_ns)
        self.serve(node, now_ns)

    def _expire_waiting(self, now_ns: int) -> None:
        while not self.is_behind:
            job = self._pending.first()
            if job is None or job.deadline_ns > now_ns:
                return
            self._expire(job, now_ns)

    def _expire(self, job: Job, now_ns: int) -> None:
        """End a job that has waited for too long."""
        self._expired += 1
        self._pending.remove(job)
        self._counts.pending_timed_out_total += 1
        cause = job.cause or _NO_NODE_IN_TIME
        excluded = self._misses.why(job)
        if cause.code == ErrorCode.NO_AVAILABLE_NODE:
            self._misses.count(excluded)
        self._misses.record(job, Outcome.EXPIRED, len(self._pending), now_ns)
        self._fail(job, cause, excluded.reasons)

    # --- nodes and gateways that come and go ----------------------------------------------

    def forget_node(self, node: Node) -> None:
        """The node left the table: nothing can wait for it any more."""
        self._blame.forget(node)
        for job in self._pending.paired_with(node.ref):
            self._pending.remove(job)
            self._fail(job, _PAIRED_NODE_GONE)

    def cancel_all_of(self, gateway: int, now_ns: int) -> None:
        """The gateway is gone: nobody waits for the jobs it accepted."""
        own = [job for job in self._jobs.values() if job.owner == gateway]
        # Those that wait go first, or the slots of the others would be given to them.
        for job in sorted(own, key=lambda job: job.node is not None):
            self.cancel(gateway, CancelJob(job.key, "the session's gateway is gone"), now_ns)

    def rebuild(self, gateway: int, record: Announce, attempt: int, now_ns: int) -> Job:
        """Take over an announced job; the caller counts it and adopts or places it."""
        job = self._new_job(gateway, record, now_ns)
        job.attempt = attempt
        job.lost_on = record.node
        return job

    def adopt(self, job: Job, node: Node, now_ns: int, *, owner_knows: bool) -> None:
        """Let an attempt that a node holds go on; its time starts anew.

        An owner that doesn't know of this attempt is told.
        """
        self._occupy(job, node, now_ns)
        if not owner_knows:
            self._outbox[job.owner].append(Dispatched(job.key, job.attempt, node.ref))

    def resubmit(self, gateway: int, record: Announce, now_ns: int) -> None:
        """Take in a job that was announced after the recovery's deadline."""
        if record.job not in self._jobs:
            self._counts.submitted_total += 1
            self.place(self.rebuild(gateway, record, record.attempt, now_ns), now_ns)
