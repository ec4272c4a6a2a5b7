"""A gateway as the dispatcher sees it: an honest model of its bookkeeping, without sockets.

It keeps each job until one terminal record, each result until it is acknowledged, the attempts
that its nodes hold, and tells a new dispatcher of all three.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec.structs import replace

from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, gateway_of, job_key_base, slot_of
from scheduler.protocol.records import (
    Announce,
    AnnounceDone,
    ArenaRef,
    Assign,
    AttemptLost,
    AuditNode,
    CancelAttempt,
    CancelJob,
    ClaimPairing,
    Deliver,
    Discard,
    Dispatched,
    DrainRequested,
    Failed,
    Failure,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    NodeServices,
    NodeStatusChanged,
    OfferPairing,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
    Partial,
    PartialText,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
    ToDispatcher,
)
from scheduler.protocol.status import Status
from scheduler.selection.columns import NodeColumns
from scheduler.simulation.checks import Outcomes, check
from scheduler.simulation.link import Pipe
from scheduler.simulation.session import Session

AttemptKey = tuple[int, int, int]
"""(job, attempt, node)"""


def _key_of(record: Deliver | Discard | CancelAttempt) -> AttemptKey:
    return record.job, record.attempt, record.node


class NodeProgram(Protocol):
    """What a gateway says to a node."""

    def accepted(self) -> None:
        """The node is a member."""

    def refused(self) -> None:
        """The node may not join now."""

    def disconnected(self) -> None:
        """The socket was closed at the gateway's end."""

    def assign(self, job: int, attempt: int) -> None:
        """Here is a job."""

    def cancel(self, job: int, attempt: int) -> None:
        """Nobody waits for that attempt any more."""

    def pairing_code(self, code: str) -> None:
        """A session may pair with this code."""


class Storage(Protocol):
    """The arenas of all gateways."""

    def request_is_there(self, payload: ArenaRef) -> bool:
        """Whether the request of a job can still be read."""

    def take_result(self, payload: ArenaRef, job: int) -> bool:
        """Read a result and release it; False where it is gone."""

    def may_be_lost(self, payload: ArenaRef) -> bool:
        """Whether the gateway that kept it has died since."""


@dataclass(slots=True)
class OwnedJob:
    """A job accepted here."""

    session: Session
    requirement: int
    paired: int
    avoid: int
    payload: ArenaRef | None
    attempt: int = 0
    node: int = NO_NODE


@dataclass(slots=True)
class Socket:
    """A node's connection."""

    conn: int
    node: NodeProgram
    registration: RegisterNode
    ref: int = NO_NODE
    status: Status = Status.REGISTERING
    attempts: dict[int, int] = field(default_factory=dict)
    code: str = ""
    """The pairing code that the node has; for how long it is good, the dispatcher alone knows."""


class GatewayModel:
    """One process of one gateway."""

    def __init__(
        self,
        index: int,
        incarnation: int,
        columns: NodeColumns,
        outcomes: Outcomes,
        storage: Storage,
        *,
        shares_payloads: bool,
    ) -> None:
        self.index = index
        self.alive = True
        self.jobs: dict[int, OwnedJob] = {}
        self.sockets: dict[int, Socket] = {}
        self.shelf: dict[AttemptKey, Result] = {}
        """Results without an acknowledgement."""
        self._columns = columns
        self._outcomes = outcomes
        self._storage = storage
        self._shares_payloads = shares_payloads
        self._key = job_key_base(index, incarnation)
        self._block = incarnation << 40
        self._numbers = 0
        self._by_ref: dict[int, Socket] = {}
        self._claims: dict[int, tuple[Session, str]] = {}
        self._pipe: Pipe | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            Assign: self._assign,
            Dispatched: self._dispatched,
            Deliver: self._deliver,
            Failed: self._failed,
            CancelAttempt: self._cancel_attempt,
            Discard: self._discard,
            PartialText: self._partial_text,
            NodeAccepted: self._node_accepted,
            NodeRefused: self._node_refused,
            NodeStatusChanged: self._node_status_changed,
            PairingOffered: self._pairing_offered,
            PairingClaimed: self._pairing_claimed,
            PairingAnswer: self._pairing_answer,
            DrainRequested: lambda _: None,
            AuditNode: self._audit_node,
        }

    def receive(self, record: Any) -> None:
        """Take a record from the dispatcher."""
        if self.alive:
            self._handlers[type(record)](record)

    def _send(self, record: ToDispatcher) -> None:
        if self._pipe is not None:
            self._pipe.send(record)

    # --- sessions ------------------------------------------------------------------------

    def submit(self, session: Session, requirement: int) -> None:
        """Accept a job of `session`."""
        self._key += 1
        key = self._key
        payload = ArenaRef(self.index, 0, 1, key) if self._shares_payloads else None
        avoid = session.last_node if session.paired == NO_NODE else NO_NODE
        job = OwnedJob(session, requirement, session.paired, avoid, payload)
        self.jobs[key] = job
        session.jobs.add(key)
        self._outcomes.accept(key)
        self._send(Submit(key, requirement, job.paired, job.avoid, payload, *session.share))

    def cancel(self, key: int) -> None:
        """Give up an unfinished job."""
        self._end(key, "cancelled")
        self._send(CancelJob(key, "session closed"))

    def claim(self, session: Session, code: str) -> None:
        """Present a pairing code."""
        self._numbers += 1
        self._claims[self._numbers] = (session, code)
        self._send(ClaimPairing(self._numbers, code, session.address))

    def _end(self, key: int, how: str) -> OwnedJob:
        job = self.jobs.pop(key)
        job.session.jobs.discard(key)
        self._outcomes.end(key, how)
        return job

    def _dispatched(self, record: Dispatched) -> None:
        job = self.jobs.get(record.job)
        if job is not None:
            job.attempt, job.node = record.attempt, record.node

    def _deliver(self, record: Deliver) -> None:
        if record.payload is None:
            there = self.shelf.pop(_key_of(record), None) is not None
            lost = False
        else:
            there = self._storage.take_result(record.payload, record.job)
            lost = self._storage.may_be_lost(record.payload)
        if record.job not in self.jobs:
            self._outcomes.surprise(record.job, record)
            return
        check(there or lost, "a delivered result can be read", record)
        job = self._end(record.job, "completed" if there else "failed")
        job.session.last_node = job.node

    def _failed(self, record: Failed) -> None:
        if record.job in self.jobs:
            self._end(record.job, "failed")
        else:
            self._outcomes.surprise(record.job, record)

    def _partial_text(self, record: PartialText) -> None:
        """Nothing to keep: the text goes to the session, if it is still there."""

    def _pairing_answer(self, record: PairingAnswer) -> None:
        claim = self._claims.pop(record.conn, None)
        if claim is not None and record.code == "":
            claim[0].paired = record.node

    # --- nodes ---------------------------------------------------------------------------

    def connect(self, node: NodeProgram, registration: RegisterNode) -> Socket:
        """Open a socket and register."""
        self._numbers += 1
        registration.conn = self._numbers
        socket = Socket(self._numbers, node, registration)
        self.sockets[socket.conn] = socket
        self._send(registration)
        return socket

    def close(self, socket: Socket) -> None:
        """The node closed its socket."""
        self._drop(socket)
        if socket.ref != NO_NODE:
            self._send(NodeGone(socket.ref, "the node's connection closed"))

    def _drop(self, socket: Socket) -> None:
        self.sockets.pop(socket.conn, None)
        if self._by_ref.get(socket.ref) is socket:
            del self._by_ref[socket.ref]

    def heartbeat(
        self, socket: Socket, *, fit: bool, cpu_percent: float, external_jobs: int, now_ns: int
    ) -> None:
        """Write the figures where the dispatcher reads them, and say what speaks against it."""
        if socket.ref == NO_NODE:
            return
        slot = slot_of(socket.ref)
        self._columns.cpu_percent[slot] = cpu_percent
        self._columns.external_jobs[slot] = external_jobs
        self._columns.heartbeat_ns[slot] = now_ns
        if fit and socket.status in {Status.REGISTERING, Status.DEGRADED}:
            self._send(NodeHealth(socket.ref, True, ""))
        elif not fit and socket.status == Status.READY:
            self._send(NodeHealth(socket.ref, False, "unhealthy"))

    def change_services(self, socket: Socket, installed: list[str], ready: list[str]) -> None:
        """The node's services changed."""
        socket.registration.installed = installed
        socket.registration.ready = ready
        if socket.ref != NO_NODE:
            self._send(NodeServices(socket.ref, installed, ready))

    def offer_pairing(self, socket: Socket, code: str) -> None:
        """The node asks for a code."""
        if socket.ref != NO_NODE:
            self._send(OfferPairing(socket.ref, code))

    def partial(self, socket: Socket, job: int) -> None:
        """The node recognised some text."""
        if job in socket.attempts and gateway_of(job) != self.index:
            self._send(Partial(job, socket.ref, b"{}"))

    def result(self, socket: Socket, job: int, attempt: int) -> None:
        """The node finished an attempt; one that it doesn't hold is counted away here.

        So is one whose result is kept already: the node came back and did it again.
        """
        key = (job, attempt, socket.ref)
        if not self._end_attempt(socket, job, attempt) or key in self.shelf:
            return
        payload = None
        if gateway_of(job) != self.index:
            self._block += 1
            payload = ArenaRef(self.index, 0, 1, self._block)
        result = Result(job, attempt, socket.ref, payload)
        self.shelf[key] = result
        self._send(result)

    def failure(self, socket: Socket, job: int, attempt: int, code: str, service: str) -> None:
        """The node failed an attempt."""
        if not self._end_attempt(socket, job, attempt):
            return
        self._send(Failure(job, attempt, socket.ref, code, service, b'{"code":"X"}'))

    def _end_attempt(self, socket: Socket, job: int, attempt: int) -> bool:
        if socket.attempts.get(job) != attempt:
            return False
        del socket.attempts[job]
        self._show_held(socket)
        return True

    def forget(self, socket: Socket, job: int) -> None:
        """Lose an attempt without a word."""
        self._end_attempt(socket, job, socket.attempts[job])

    def _show_held(self, socket: Socket) -> None:
        self._columns.held[slot_of(socket.ref)] = len(socket.attempts)

    def _audit_node(self, record: AuditNode) -> None:
        socket = self._by_ref.get(record.node)
        if socket is None:
            return
        expected = {held.job: held.attempt for held in record.attempts}
        for job, attempt in expected.items():
            if socket.attempts.get(job) != attempt:
                self._send(AttemptLost(job, attempt, socket.ref))
        for job, attempt in [*socket.attempts.items()]:
            check(expected.get(job) == attempt, "no gateway holds an attempt unasked", job, attempt)

    def _assign(self, record: Assign) -> None:
        socket = self._by_ref.get(record.node)
        if socket is None:
            return  # it closed meanwhile; the dispatcher has been told
        if record.payload is None:
            job = self.jobs.get(record.job)
            if job is None:
                return  # given up meanwhile; the dispatcher has been told
            job.attempt, job.node = record.attempt, record.node
        elif not self._storage.request_is_there(record.payload):
            code = ErrorCode.INTERNAL_ERROR
            self._send(Failure(record.job, record.attempt, socket.ref, code, "", b"{}"))
            return
        socket.attempts[record.job] = record.attempt
        self._show_held(socket)
        socket.node.assign(record.job, record.attempt)

    def _cancel_attempt(self, record: CancelAttempt) -> None:
        self.shelf.pop(_key_of(record), None)
        socket = self._by_ref.get(record.node)
        if socket is not None and self._end_attempt(socket, record.job, record.attempt):
            socket.node.cancel(record.job, record.attempt)

    def _discard(self, record: Discard) -> None:
        self.shelf.pop(_key_of(record), None)

    def _node_accepted(self, record: NodeAccepted) -> None:
        socket = self.sockets.get(record.conn)
        if socket is None:  # its socket closed before it had a reference to be told gone by
            self._send(NodeGone(record.node, "the node's connection closed"))
            return
        again = socket.ref == record.node
        socket.ref = record.node
        self._by_ref[record.node] = socket
        if not again:
            claims, socket.registration.running = socket.registration.running, []
            socket.attempts |= {held.job: held.attempt for held in record.granted}
            refused = [claim for claim in claims if claim not in record.granted]
            slot = slot_of(record.node)
            self._columns.cpu_percent[slot] = 0
            self._columns.external_jobs[slot] = 0
            self._columns.heartbeat_ns[slot] = 0
            self._columns.usage_ref[slot] = record.node
            self._show_held(socket)
            socket.node.accepted()
            for claim in refused:
                socket.node.cancel(claim.job, claim.attempt)

    def _node_refused(self, record: NodeRefused) -> None:
        socket = self.sockets.get(record.conn)
        if socket is not None:
            self._drop(socket)
            socket.node.refused()

    def _node_status_changed(self, record: NodeStatusChanged) -> None:
        socket = self._by_ref.get(record.node)
        if socket is None:
            return
        socket.status = Status(record.status)
        if socket.status == Status.OFFLINE:
            self._drop(socket)
            socket.node.disconnected()

    def _pairing_offered(self, record: PairingOffered) -> None:
        socket = self._by_ref.get(record.node)
        if socket is not None and record.accepted and record.code != socket.code:
            socket.code = record.code
            socket.node.pairing_code(record.code)

    def _pairing_claimed(self, record: PairingClaimed) -> None:
        socket = self._by_ref.get(record.node)
        if socket is not None and record.code == socket.code:
            socket.code = ""

    # --- dispatchers that come and go ----------------------------------------------------

    def attach(self, pipe: Pipe) -> None:
        """Announce everything to a dispatcher that has just been linked."""
        self._pipe = pipe
        for socket in self.sockets.values():
            self._send(self._announcement(socket))
        for key, job in self.jobs.items():
            self._send(
                Announce(
                    key,
                    job.requirement,
                    job.paired,
                    job.avoid,
                    job.payload,
                    job.attempt,
                    job.node,
                    *job.session.share,
                )
            )
        self._send(AnnounceDone())
        for result in self.shelf.values():
            self._send(result)
        for socket in self.sockets.values():
            if socket.ref != NO_NODE and socket.code:
                self._send(OfferPairing(socket.ref, socket.code))
        for conn, (session, code) in self._claims.items():
            self._send(ClaimPairing(conn, code, session.address))

    def _announcement(self, socket: Socket) -> RegisterNode:
        if socket.ref == NO_NODE:
            return socket.registration  # with what the node says that it kept
        held = [*socket.attempts.items()]
        held += [(job, attempt) for job, attempt, node in self.shelf if node == socket.ref]
        return replace(
            socket.registration,
            announced=True,
            status=socket.status,
            running=[RunningAttempt(job, attempt) for job, attempt in held],
        )

    def detach(self) -> None:
        """The dispatcher is gone."""
        self._pipe = None

    def die(self) -> None:
        """Take the jobs of this process with it."""
        self.alive = False
        self._pipe = None
        for key in list(self.jobs):
            self._end(key, "orphaned")
