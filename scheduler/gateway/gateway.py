"""One gateway: its sessions and nodes, and the way of records to them."""

from scheduler.gateway.connection import Connection
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.jobs import JobDesk
from scheduler.gateway.link import DispatcherLink
from scheduler.gateway.node import NodePeer
from scheduler.gateway.node_usage import NodeUsage
from scheduler.gateway.payloads import Payloads
from scheduler.gateway.results import ResultShelf
from scheduler.gateway.resuming import Forward, ResumeDesk
from scheduler.gateway.services import ServiceNews
from scheduler.gateway.session import SessionPeer
from scheduler.gateway.session_rows import SessionRows
from scheduler.gateway.texts import TextRelay
from scheduler.protocol.records import (
    AnnounceDone,
    Assign,
    AuditNode,
    CancelAttempt,
    ClaimPairing,
    Discard,
    DrainRequested,
    NodeAccepted,
    NodeGone,
    NodeRefused,
    NodeStatusChanged,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
)


class Gateway:
    """Makes a peer for each socket and hands each record to the peer it is for."""

    def __init__(
        self,
        context: GatewayContext,
        link: DispatcherLink,
        payloads: Payloads,
        forward: Forward | None = None,
    ) -> None:
        """`forward` leads sockets to other gateways, where there are any."""
        self._context = context
        self._link = link
        self._results = ResultShelf(context.index, payloads)
        self._desk = JobDesk(context, link, payloads, self._results)
        self._rows = SessionRows(context)
        self._resuming = ResumeDesk(context, forward)
        self._forwards = forward is not None
        self._usage = NodeUsage(context.views)
        self._news = ServiceNews()
        self._texts = TextRelay(link, context.counters)
        self._sessions: set[SessionPeer] = set()
        self._nodes: dict[int, NodePeer] = {}
        self._nodes_by_ref: dict[int, NodePeer] = {}
        self._claims: dict[int, SessionPeer] = {}
        self._numbers = 0
        link.route(
            {
                Assign: self._assign,
                CancelAttempt: self._cancel_attempt,
                Discard: self._discard,
                NodeAccepted: self._node_accepted,
                NodeRefused: self._node_refused,
                NodeStatusChanged: self._node_status_changed,
                DrainRequested: self._drain_requested,
                PairingOffered: self._pairing_offered,
                PairingClaimed: self._pairing_claimed,
                PairingAnswer: self._pairing_answer,
                AuditNode: self._audit_node,
            }
        )

    # --- sockets -------------------------------------------------------------------------

    def new_session(self, connection: Connection) -> SessionPeer:
        """Return the peer of a socket opened at /ws/session."""
        session = self.relayed_session(connection)
        if self._forwards:
            connection.keep_early()
        if self._context.draining:  # its handshake was under way when that began
            session.shut_down()
        return session

    def relayed_session(self, connection: Connection) -> SessionPeer:
        """Return the peer of a socket that another gateway led here.

        Also while draining: the session that it is to go on with may be finishing its jobs.
        """
        session = SessionPeer(
            self._context,
            self._desk,
            self._rows,
            self._resuming,
            connection,
            self._claim_code,
            self._sessions.discard,
        )
        self._sessions.add(session)
        return session

    def new_node(self, connection: Connection) -> NodePeer:
        """Return the peer of a socket opened at /ws/node."""
        self._numbers += 1
        node = NodePeer(
            self._context,
            self._link,
            self._desk,
            self._results,
            self._usage,
            self._news,
            self._texts,
            connection,
            self._numbers,
            self._note_node,
            self._forget_node,
        )
        self._nodes[node.conn] = node
        self._context.counters.set("nodes", len(self._nodes))
        return node

    def _note_node(self, node: NodePeer, ref: int, ref_before: int) -> None:
        self._context.flight.note("node", f"{node.node_id} on socket {node.conn}")
        self._drop_ref(node, ref_before)
        self._nodes_by_ref[ref] = node

    def _forget_node(self, node: NodePeer, ref: int) -> None:
        del self._nodes[node.conn]
        self._context.counters.set("nodes", len(self._nodes))
        self._drop_ref(node, ref)

    def _drop_ref(self, node: NodePeer, ref: int) -> None:
        if self._nodes_by_ref.get(ref) is node:  # else the node is back on another socket
            del self._nodes_by_ref[ref]

    def _claim_code(self, session: SessionPeer, code: str, address: str) -> None:
        self._numbers += 1
        self._claims[self._numbers] = session
        self._link.send(ClaimPairing(self._numbers, code, address))

    # --- records -------------------------------------------------------------------------

    def _assign(self, record: Assign) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is None:
            return  # its socket closed meanwhile; the dispatcher has been told
        head = self._desk.head_of(record)
        if head is None and record.payload is None:
            return  # the job was given up meanwhile; so has the dispatcher
        node.assign(record, head)
        self._desk.assigned(record)

    def _cancel_attempt(self, record: CancelAttempt) -> None:
        self._results.discard(record.job, record.attempt, record.node)
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.cancel(record)

    def _discard(self, record: Discard) -> None:
        self._results.discard(record.job, record.attempt, record.node)

    def _node_accepted(self, record: NodeAccepted) -> None:
        node = self._nodes.get(record.conn)
        if node is not None:
            node.accepted(record)
        else:  # its socket closed before it had a reference to report gone
            self._link.send(NodeGone(record.node, "the node's connection closed"))

    def _node_refused(self, record: NodeRefused) -> None:
        node = self._nodes.get(record.conn)
        if node is not None:
            node.refused(record)

    def _node_status_changed(self, record: NodeStatusChanged) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.status_changed(record)

    def _drain_requested(self, record: DrainRequested) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.drain_requested(record)

    def _pairing_offered(self, record: PairingOffered) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.pairing_offered(record)

    def _pairing_claimed(self, record: PairingClaimed) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.pairing_claimed(record)

    def _audit_node(self, record: AuditNode) -> None:
        node = self._nodes_by_ref.get(record.node)
        if node is not None:
            node.audit(record)

    def _pairing_answer(self, record: PairingAnswer) -> None:
        session = self._claims.pop(record.conn, None)
        if session is not None:
            session.pairing_answered(record)

    # --- dispatchers that come and go ----------------------------------------------------

    def announce(self) -> None:
        """Tell a dispatcher that has just been linked everything it must know."""
        finished = self._results.attempts()
        for node in self._nodes.values():
            record = node.announcement(finished.get(node.ref, []))
            if record is not None:
                self._link.send(record)
        for job in self._desk.announcements():
            self._link.send(job)
        self._link.send(AnnounceDone())
        for result in self._results.records():
            self._link.send(result)
        for node in self._nodes.values():
            node.offer_code_again()
        claims, self._claims = self._claims, {}
        for session in claims.values():
            session.claim()

    # --- time ----------------------------------------------------------------------------

    def sweep(self) -> None:
        """Free what others are done with, end what is overdue, tell what was put off.

        Call it several times a second.
        """
        self._desk.sweep()
        self._results.sweep(self._context.now_ns)
        self._resuming.sweep(self._context.now_ns)
        self._news.sweep(self._context.now_ns)
        self._texts.sweep()

    # --- shutting down -------------------------------------------------------------------

    def drain(self) -> None:
        """Take nothing new; close each session once its jobs are finished."""
        self._context.draining = True
        for session in list(self._sessions):
            session.drain()

    @property
    def has_sessions(self) -> bool:
        """Whether any session is open, be it without a socket."""
        return bool(self._sessions)

    @property
    def has_attempts(self) -> bool:
        """Whether any node connected here works on a job."""
        return any(node.attempts for node in self._nodes.values())

    def retire_nodes(self) -> None:
        """Let the nodes have no more jobs from here: this process is about to be replaced."""
        for node in self._nodes.values():
            node.retire()

    def close_sessions(self) -> None:
        """Close the sessions that are left."""
        for session in list(self._sessions):
            session.shut_down()

    def close_nodes(self) -> None:
        """Close the nodes' sockets: other gateways' jobs need them until the very end."""
        for node in list(self._nodes.values()):
            node.shut_down()
