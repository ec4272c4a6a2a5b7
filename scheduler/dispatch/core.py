"""The dispatcher's core: records in, records out. Pure: no clock, no I/O, no randomness.

`receive` and `tick` append what is to be said to each gateway to `outbox[gateway]`. What a job
goes through stands in flow.py, what a node goes through in membership.py; here each record finds
its handler, and a new dispatcher finds out what the one before it left.
"""

from collections.abc import Callable
from typing import Any

from scheduler.config import Config
from scheduler.dispatch.audit import LoadAudit
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.flow import JobFlow, Note
from scheduler.dispatch.membership import Membership
from scheduler.dispatch.nodes import Node, NodeTable
from scheduler.dispatch.pairing import PairingDesk
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.recovery import Recovery
from scheduler.dispatch.services import ServiceIndex
from scheduler.dispatch.tables import Tables
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, gateway_of
from scheduler.protocol.records import (
    SUPERSEDED,
    Announce,
    AnnounceDone,
    AttemptLost,
    CancelAttempt,
    CancelJob,
    ClaimPairing,
    DrainNode,
    Failure,
    NodeGone,
    NodeHealth,
    NodeServices,
    OfferPairing,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
    Partial,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
    ToDispatcher,
    ToGateway,
)

REFRESH_NS = 100_000_000
"""Time between passes over the figures that nodes report."""

Handler = Callable[[int, Any, int], None]


def _forget(_kind: str, _text: str) -> None:
    """Stand in for a flight recorder that nobody reads."""


class Dispatcher:
    """Places jobs on nodes and answers for each job with one terminal record to its gateway."""

    def __init__(
        self,
        config: Config,
        tables: Tables,
        gateways: int,
        *,
        note: Note = _forget,
    ) -> None:
        """`gateways` is their number; `note(kind, text)` keeps events for operators."""
        self.outbox: list[list[ToGateway]] = [[] for _ in range(gateways)]
        self.counts = Counts()
        services = ServiceIndex(config.scheduler, tables.service_ids)
        placement = Placement(tables, config.scheduler.load_balancer.strategy)
        self._table = NodeTable(tables)
        self._flow = JobFlow(
            config,
            tables,
            self._table,
            services,
            placement,
            self.outbox,
            self.counts,
            note,
        )
        self._membership = Membership(
            config,
            tables,
            self._table,
            services,
            placement,
            self.outbox,
            self.counts,
            on_changed=self._flow.refit,
            on_free=self._flow.serve,
            on_lost=self._node_left,
            on_forgotten=self._flow.forget_node,
            grant=self._grant,
            note=note,
        )
        self._audit = LoadAudit(tables, self._table, placement, self.outbox, self.counts)
        self._pairing = PairingDesk(config.pairing)
        self._refresh_due_ns = 0
        self._recovery: Recovery | None = None
        self._handlers = self._working_handlers()

    def _working_handlers(self) -> dict[type, Handler]:
        return {
            Submit: self._flow.submit,
            Result: self._flow.finish,
            Failure: self._flow.fail_attempt,
            CancelJob: self._flow.cancel,
            Partial: self._flow.pass_partial,
            RegisterNode: self._register,
            NodeServices: self._membership.change_services,
            NodeHealth: self._membership.change_health,
            NodeGone: self._membership.lose,
            OfferPairing: self._offer_pairing,
            ClaimPairing: self._claim_pairing,
            DrainNode: self._membership.drain,
            AttemptLost: self._flow.lose_attempt,
            Announce: self._flow.resubmit,
            AnnounceDone: self._announced,
        }

    def receive(self, gateway: int, event: ToDispatcher, now_ns: int) -> None:
        """Take in one record from `gateway`. Times are monotonic ns and never decrease."""
        self.receive_all(gateway, [event], now_ns)

    def receive_all(self, gateway: int, events: list[ToDispatcher], now_ns: int) -> None:
        """Take in records in their order."""
        self.counts.records_total += len(events)
        for event in events:
            self._handlers[type(event)](gateway, event, now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due by now; call it at least every few tens of ms."""
        if self._recovery is not None:
            if self._recovery.is_over(now_ns):
                self._finish_recovery(now_ns)
            return
        self._flow.tick(now_ns)
        if now_ns >= self._refresh_due_ns:
            self._refresh_due_ns = now_ns + REFRESH_NS
            self._membership.refresh(now_ns)
            self._flow.refresh(now_ns)
            self._audit.look()
            self._pairing.expire(now_ns)

    @property
    def is_behind(self) -> bool:
        """Whether more was due at the last tick than one tick does."""
        return self._flow.is_behind

    def update_gauges(self) -> None:
        """Bring the gauges among `counts` and the tables up to date."""
        self._flow.update_gauges()

    def lose_gateway(self, gateway: int, now_ns: int) -> None:
        """The gateway is gone: its nodes' jobs fail over, its own jobs are given up."""
        lost = self._membership.lose_gateway(gateway, now_ns)
        if self._recovery is not None:
            self._recovery.lose_gateway(gateway, lost)
        self._flow.cancel_all_of(gateway, now_ns)
        for node in lost:
            self._lose_node(node, now_ns)
        self.outbox[gateway].clear()

    def _node_left(self, node: Node, now_ns: int) -> None:
        self._flow.blame_for_leaving(node, now_ns)
        self._lose_node(node, now_ns)

    def _lose_node(self, node: Node, now_ns: int) -> None:
        self._pairing.withdraw(node.ref)
        self._flow.fail_over_all(node, now_ns)

    def _register(self, gateway: int, record: RegisterNode, now_ns: int) -> None:
        node = self._membership.register(gateway, record, now_ns)
        if node is None:
            return
        self._flow.fit(node, now_ns)
        if record.announced:  # too late for a recovery
            for held in record.running:
                if not self._flow.reclaim(held.job, held.attempt, node, now_ns):
                    self._supersede(held.job, held.attempt, node)

    def _grant(self, node: Node, claims: list[RunningAttempt], now_ns: int) -> list[RunningAttempt]:
        """Let a node that is back go on with what it had and nobody else has begun."""
        return [c for c in claims if self._flow.reclaim(c.job, c.attempt, node, now_ns)]

    def _supersede(self, key: int, attempt: int, node: Node) -> None:
        """End an attempt that a node was announced with, unless it is what the node is to run."""
        if not node.holds(key, attempt):
            self.outbox[node.gateway].append(CancelAttempt(key, attempt, node.ref, SUPERSEDED))

    def _offer_pairing(self, gateway: int, record: OfferPairing, now_ns: int) -> None:
        if self._membership.connected(gateway, record.node) is None:
            return
        accepted = self._pairing.offer(record.code, record.node, now_ns)
        self.counts.pairings_offered_total += accepted
        self.outbox[gateway].append(PairingOffered(record.node, record.code, accepted))

    def _claim_pairing(self, gateway: int, record: ClaimPairing, now_ns: int) -> None:
        answer = self._pairing.claim(record.code, record.address, now_ns)
        if isinstance(answer, ErrorCode):
            self.counts.pairings_refused_total += 1
            self.outbox[gateway].append(PairingAnswer(record.conn, NO_NODE, "", answer))
            return
        node = self._table.by_ref(answer)
        assert node is not None, "a node's code is withdrawn when it goes offline"
        self.counts.pairings_made_total += 1
        # Or its gateway would offer the code to the next dispatcher.
        self.outbox[node.gateway].append(PairingClaimed(node.ref, record.code))
        self.outbox[gateway].append(PairingAnswer(record.conn, node.ref, node.node_id, ""))

    # --- taking over from an earlier dispatcher ------------------------------------------

    def start_recovery(self, now_ns: int) -> None:
        """Hold everything back until the gateways have announced what they have."""
        self._table.count_offline_from(now_ns)
        recovery = Recovery(range(len(self.outbox)), now_ns)
        self._recovery = recovery
        self._handlers = dict.fromkeys(self._handlers, recovery.defer)
        self._handlers[RegisterNode] = self._recover_node
        self._handlers[Announce] = recovery.note_job
        self._handlers[AnnounceDone] = self._announced

    def _recover_node(self, gateway: int, record: RegisterNode, now_ns: int) -> None:
        assert self._recovery is not None
        if not record.announced or self._membership.is_connected(record.node_id):
            # A new one waits for all members: the id or the attempts that it claims may be theirs.
            # A member's earlier connection may have closed since; that news is held back as well.
            self._recovery.defer(gateway, record, now_ns)
            return
        node = self._membership.register(gateway, record, now_ns)
        if node is not None:
            self._flow.fit(node, now_ns)
            self._recovery.note_node(record, node.ref)

    def _announced(self, gateway: int, _record: AnnounceDone, now_ns: int) -> None:
        if self._recovery is not None:
            self._recovery.finish_gateway(gateway)
            if self._recovery.is_over(now_ns):
                self._finish_recovery(now_ns)

    def _finish_recovery(self, now_ns: int) -> None:
        recovery = self._recovery
        assert recovery is not None
        self._recovery = None
        self._handlers = self._working_handlers()
        homeless = []
        rebuilt = 0
        for record, attempt, ref in recovery.jobs():
            rebuilt += 1
            job = self._flow.rebuild(gateway_of(record.job), record, attempt, now_ns)
            node = self._table.by_ref(ref)
            if node is not None:
                self._flow.adopt(job, node, now_ns, owner_knows=record.attempt >= attempt)
            else:
                homeless.append(job)
        self._settle_counts(rebuilt)
        for key, attempt, ref in recovery.held():
            node = self._table.by_ref(ref)
            assert node is not None, "a node that was announced keeps its row"
            self._supersede(key, attempt, node)
        later = self._let_in(recovery.deferred(), now_ns)
        for job in homeless:
            if job.node is None:  # else a node that is back goes on with it
                self._flow.place(job, now_ns)
        for gateway, event in later:
            self.receive(gateway, event, now_ns)

    def _let_in(
        self, deferred: list[tuple[int, ToDispatcher]], now_ns: int
    ) -> list[tuple[int, ToDispatcher]]:
        """Register the nodes that came meanwhile; return the other events, in their order."""
        later = []
        for gateway, event in deferred:
            if isinstance(event, RegisterNode) and not self._membership.is_connected(event.node_id):
                self._register(gateway, event, now_ns)
            else:
                later.append((gateway, event))
        return later

    def _settle_counts(self, rebuilt: int) -> None:
        """Make submitted = completed + failed + cancelled + live hold across dispatchers.

        Totals only grow: jobs whose Submit was never read are submitted now, and those that the
        one before had and nobody announced went with their gateway.
        """
        counts = self.counts
        ended = counts.completed_total + counts.failed_total + counts.cancelled_total
        live_before = counts.submitted_total - ended
        counts.submitted_total += max(0, rebuilt - live_before)
        counts.cancelled_total += max(0, live_before - rebuilt)
