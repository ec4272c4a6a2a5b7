"""One node's socket: protocol.md's "Nodes", message by message.

    new ──node_register──► registering ──NodeAccepted──► registered
    registered ──socket closed, or the dispatcher gives it up──► gone

The node's status is the dispatcher's decision; this end judges heartbeats and passes messages.
"""

import secrets
from collections.abc import Callable
from typing import Any

import structlog
from msgspec import UNSET
from websockets.frames import CloseCode

from scheduler.errors import ArenaFull, NotAdmitted, PeerError
from scheduler.gateway.attempts import Attempts
from scheduler.gateway.connection import Connection
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.failures import failure_of, own_failure
from scheduler.gateway.health import HealthMonitor
from scheduler.gateway.jobs import JobDesk
from scheduler.gateway.link import DispatcherLink
from scheduler.gateway.messages import (
    RETRY_AFTER_MS,
    SHUTTING_DOWN,
    decode,
    encode,
    error_message,
    error_of,
    jittered,
)
from scheduler.gateway.node_usage import NodeUsage
from scheduler.gateway.pairing_code import PairingCodeDraw
from scheduler.gateway.registration import check_registration, registration
from scheduler.gateway.results import ResultShelf
from scheduler.gateway.services import ServiceNews, Services
from scheduler.gateway.splice import build_result_tail, with_attempt
from scheduler.gateway.texts import TextRelay
from scheduler.gateway.utterances import PartialBody
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, gateway_of, parse_wire_job_id, wire_job_id
from scheduler.protocol.node import (
    Command,
    JobCancel,
    JobResult,
    NodeAsrPartial,
    NodeControl,
    NodeError,
    NodeHeartbeat,
    NodeMessage,
    NodeRegister,
    NodeRegisterAck,
    NodeStatus,
    RequestPairingCode,
    RunningJob,
    node_decoder,
)
from scheduler.protocol.records import (
    PARTIAL_BYTES_MAX,
    SUPERSEDED,
    TIMED_OUT,
    Assign,
    AttemptLost,
    AuditNode,
    CancelAttempt,
    DrainRequested,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    NodeServices,
    NodeStatusChanged,
    OfferPairing,
    PairingClaimed,
    PairingOffered,
    Partial,
    RegisterNode,
    RunningAttempt,
)
from scheduler.protocol.status import Status

log = structlog.get_logger(__name__)

_EARLY_MESSAGES_MAX = 16
"""Messages kept between node_register and its ack, of `limits.message_bytes_max` in all."""

_LOGGED_CHARS_MAX = 200


class NodePeer:
    """A node, from its socket's opening to its closing."""

    def __init__(
        self,
        context: GatewayContext,
        link: DispatcherLink,
        desk: JobDesk,
        results: ResultShelf,
        usage: NodeUsage,
        news: ServiceNews,
        texts: TextRelay,
        connection: Connection,
        conn: int,
        on_accepted: Callable[["NodePeer", int, int], None],
        on_closed: Callable[["NodePeer", int], None],
    ) -> None:
        """`conn` is this gateway's number for the socket."""
        self.conn = conn
        self.ref = NO_NODE
        """Given by the dispatcher while it counts this node as connected."""
        self._row_ref = NO_NODE
        """The last one given: under which records for this node may still come."""
        self._context = context
        self._link = link
        self._desk = desk
        self._results = results
        self._usage = usage
        self._news = news
        self._texts = texts
        self._connection = connection
        self._tell_accepted = on_accepted
        self._tell_closed = on_closed
        self._register: NodeRegister | None = None
        self.node_id = ""
        self._status = Status.REGISTERING
        self._health = HealthMonitor(context.config.scheduler.node_health)
        self._services = Services(self._tell_services)
        self._attempts = Attempts(context)
        self._claims: list[RunningAttempt] = []
        """What the node says it still works on, until it is a member: nothing counts of it before
        the dispatcher has granted it."""
        self._foreign: list[str] = []
        """Jobs among it that are not of this run."""
        self._retiring = False
        self._early: list[NodeMessage] = []
        self._early_bytes = 0
        self._code = PairingCodeDraw(context, self._offer_code)
        self._handlers: dict[type, Callable[[Any], None]] = {
            NodeRegister: self._refuse_register,
            NodeHeartbeat: self._heartbeat,
            JobResult: self._job_result,
            NodeAsrPartial: self._partial,
            NodeError: self._node_error,
            RequestPairingCode: self._request_pairing_code,
        }

    # --- what the connection calls -------------------------------------------------------

    def on_text(self, message: bytes) -> None:
        """Take one text message."""
        try:
            decoded = decode(node_decoder, message)
            if self.ref == NO_NODE:
                self._before_membership(decoded, len(message))
            else:
                self._take(decoded)
        except PeerError as error:
            self._refuse(error)

    def on_binary(self, message: bytes) -> None:  # noqa: ARG002 - refused unread
        """Refuse a binary message: nodes have none."""
        self._refuse(PeerError(ErrorCode.INVALID_MESSAGE, "nodes send text messages only"))

    def on_closed(self) -> None:
        """The socket is gone: its jobs fail over."""
        self._news.forget(self._services)
        if self.ref != NO_NODE:
            self._link.send(NodeGone(self.ref, "the node's connection closed"))
        self._tell_closed(self, self._row_ref)

    def _refuse(self, error: PeerError) -> None:
        self._context.count_refusal(error)
        self._connection.send(error_of(error))
        if isinstance(error, NotAdmitted):
            self._connection.close(CloseCode.POLICY_VIOLATION, error.code)

    def _take(self, message: NodeMessage) -> None:
        node_id = getattr(message, "node_id", None)
        if node_id is not None and node_id != self.node_id and type(message) is not NodeRegister:
            raise PeerError(
                ErrorCode.INVALID_MESSAGE,
                "node_id is not this connection's; use the one of node_register_ack",
            )
        self._handlers[type(message)](message)

    def _before_membership(self, message: NodeMessage, size_bytes: int) -> None:
        if self._register is None:
            if not isinstance(message, NodeRegister):
                raise PeerError(ErrorCode.INVALID_MESSAGE, "send node_register first")
            self._start(message)
            return
        self._early_bytes += size_bytes
        if (
            len(self._early) == _EARLY_MESSAGES_MAX
            or self._early_bytes > self._context.config.limits.message_bytes_max
        ):
            self._early_bytes -= size_bytes
            raise PeerError(ErrorCode.INVALID_MESSAGE, "wait for node_register_ack")
        self._early.append(message)  # nodes that know their id don't all wait for the ack

    # --- joining -------------------------------------------------------------------------

    def _start(self, message: NodeRegister) -> None:
        if self._context.draining:
            raise PeerError(ErrorCode.SERVER_SHUTDOWN, SHUTTING_DOWN)
        self._context.doorkeeper.admit_node(self._connection, message)
        check_registration(message, require_gpu=self._context.config.scheduler.require_gpu)
        self._register = message
        self.node_id = message.node_id or f"node-{secrets.token_hex(6).upper()}"
        self._services = Services(self._tell_services)  # not those of one that was refused
        self._services.set(message.installed_services, message.capability_state)
        self._note_claims(message.running_jobs or [])
        self._link.send(self._registration())

    def _note_claims(self, jobs: list[RunningJob]) -> None:
        self._claims, self._foreign = [], []
        for running in jobs:
            job = parse_wire_job_id(self._context.epoch, running.job_id)
            if job is None:
                self._foreign.append(running.job_id)
            else:
                self._claims.append(RunningAttempt(job, running.attempt_id))

    def _registration(self) -> RegisterNode:
        assert self._register is not None
        installed, ready = self._services.registered()
        record = registration(
            self._register,
            self.conn,
            self.node_id,
            self._context.config.scheduler.max_concurrent_jobs_per_node,
            installed=installed,
            ready=ready,
        )
        # It can't go on with more than it has slots for: what it began last is the likeliest.
        record.running = self._claims[-record.capacity :]
        return record

    def announcement(self, finished: list[RunningAttempt]) -> RegisterNode | None:
        """Return what a new dispatcher must know of this node; None before it registered.

        `finished` are the attempts whose results are kept.
        """
        if self._register is None:
            return None
        record = self._registration()
        if self.ref != NO_NODE:
            record.announced = True
            record.status = self._status
            record.running = [*self._attempts, *finished]
        return record

    def accepted(self, record: NodeAccepted) -> None:
        """The node has a row in the table."""
        before, self.ref = self.ref, record.node
        self._tell_accepted(self, record.node, self._row_ref)
        self._row_ref = record.node
        for held in record.granted:
            self._attempts.start(held.job, held.attempt, self._context.now_ns)
        if self.ref != before:
            self._usage.start(record.node, self._context.now_ns)
            self._show_held()
        if before != NO_NODE:  # a new dispatcher took it over; the node need not know
            return
        config = self._context.config
        self._connection.mark_identified(
            config.limits.node_messages_per_second_max,
            # Long jobs for many slots may be sent at once, and must not look like a node that
            # doesn't read. They lie in the gateways' payload memory, which has its own bounds.
            config.limits.write_buffer_bytes_max
            + config.gateways_total * config.limits.arena_bytes,
        )
        ack = NodeRegisterAck(self.node_id, "node registered", Status.REGISTERING.wire)
        self._connection.send(encode(ack))
        self._stop_others(record.granted)
        early, self._early, self._early_bytes = self._early, [], 0
        for message in early:
            try:
                self._take(message)
            except PeerError as error:
                self._refuse(error)

    def _stop_others(self, granted: list[RunningAttempt]) -> None:
        """Tell the node to stop what it claims and was not granted."""
        kept = set(granted)
        for claim in [claim for claim in dict.fromkeys(self._claims) if claim not in kept]:
            self._attempts.refuse(claim.job, claim.attempt)
            self._send_cancel(claim.job, SUPERSEDED)
        for job_id in self._foreign:
            self._connection.send(encode(JobCancel(job_id, reason=SUPERSEDED)))
        self._claims, self._foreign = [], []

    def refused(self, record: NodeRefused) -> None:
        """The node may not join; it may try again on the same socket."""
        if self.ref != NO_NODE:  # it was a member, until a new dispatcher saw it otherwise
            self.ref = NO_NODE
            self._connection.close(CloseCode.INTERNAL_ERROR, "registration lost; register again")
            return
        self._register = None
        self._early, self._early_bytes = [], 0
        self._context.codes.add_refused(record.code)
        details = (
            {"retry_after_ms": jittered(RETRY_AFTER_MS)}
            if record.code == ErrorCode.SERVER_BUSY
            else None
        )
        self._connection.send(error_message(record.code, record.message, details))

    def _refuse_register(self, _: NodeRegister) -> None:
        raise PeerError(
            ErrorCode.INVALID_MESSAGE, "the node is registered; use a new connection for another"
        )

    # --- health and services -------------------------------------------------------------

    def _heartbeat(self, message: NodeHeartbeat) -> None:
        counters = self._context.counters
        counters.add("heartbeats_total")
        services = self._services
        if services.set(message.installed_services, message.capability_state):
            self._news.changed(services, self._context.now_ns)
        self._usage.write(
            self.ref, message.resource_usage, len(self._attempts), self._context.now_ns
        )
        verdict = self._health.heartbeat(message.resource_usage, services.installed, services.state)
        if not verdict.healthy:
            counters.add("heartbeats_unhealthy_total")
        if verdict.signal is not None and not self._retiring:
            self._link.send(NodeHealth(self.ref, verdict.signal == "fit", verdict.reason))

    def _tell_services(self, installed: list[str], ready: list[str]) -> None:
        if self.ref != NO_NODE:  # else the dispatcher has given it up
            self._link.send(NodeServices(self.ref, installed, ready))

    def status_changed(self, record: NodeStatusChanged) -> None:
        """Pass on what the dispatcher decided; an offline node is cut off."""
        self._status = Status(record.status)
        self._health.status_changed(self._status)
        status = NodeStatus(
            self.node_id,
            self._status.wire,
            self._context.now_ms // 1000,
            reason=record.reason or UNSET,
        )
        self._connection.send(encode(status))
        if self._status == Status.OFFLINE:
            # The dispatcher knows; a NodeGone for this socket could hit the node's next one.
            self.ref = NO_NODE
            self._connection.close(CloseCode.INTERNAL_ERROR, record.reason)

    def drain_requested(self, record: DrainRequested) -> None:
        """Pass on an operator's command."""
        command: Command = "drain" if record.command == "drain" else "resume"
        self._connection.send(encode(NodeControl(command, record.reason or UNSET)))

    def _node_error(self, message: NodeError) -> None:
        self._context.counters.add("node_errors_total")
        text = message.message[:_LOGGED_CHARS_MAX]
        log.warning("node error", node_id=self.node_id, code=message.code, text=text)

    # --- jobs ----------------------------------------------------------------------------

    def assign(self, record: Assign, head: bytes | None) -> None:
        """Send a job, or say at once that it can't be sent."""
        if head is None:
            text = "the job was lost inside the server"
            self._link.send(
                own_failure(record.job, record.attempt, self.ref, ErrorCode.INTERNAL_ERROR, text)
            )
            return
        now_ns = self._context.now_ns
        self._attempts.start(record.job, record.attempt, now_ns)
        self._show_held()
        self._context.stages.assign.record(now_ns - record.reserved_ns)
        self._connection.send_parts(with_attempt(head, record.attempt))

    def cancel(self, record: CancelAttempt) -> None:
        """Tell the node to stop, if it still works on that attempt."""
        if not self._attempts.end(record.job, record.attempt):
            return
        self._show_held()
        timeouts = self._context.config.scheduler.job_timeout
        if record.reason == TIMED_OUT and not timeouts.send_cancel:
            return
        self._send_cancel(record.job, record.reason)

    def _send_cancel(self, job: int, reason: str) -> None:
        wire_id = wire_job_id(self._context.epoch, job)
        self._connection.send(encode(JobCancel(wire_id, reason=reason)))

    def audit(self, record: AuditNode) -> None:
        """Say which of the attempts don't run here, and end those that aren't asked about."""
        expected = {(held.job, held.attempt) for held in record.attempts}
        for job, attempt in expected:
            if not self._attempts.holds(job, attempt):
                # Its result may be on its way: that comes first, and then this is ignored.
                self._link.send(AttemptLost(job, attempt, self.ref))
        for held in [*self._attempts]:
            if (held.job, held.attempt) not in expected:
                self._attempts.end(held.job, held.attempt)
                self._context.counters.add("attempts_dropped_total")
                self._send_cancel(held.job, SUPERSEDED)
        self._show_held()

    def _show_held(self) -> None:
        if self.ref != NO_NODE:
            self._usage.hold(self.ref, len(self._attempts))

    def _job_result(self, message: JobResult) -> None:
        read_ns = self._connection.read_ns
        job = self._attempts.take_result(message.job_id, message.attempt_id, read_ns)
        if job is None:
            return
        self._show_held()
        self._texts.finish(job)
        if not message.success:
            self._link.send(failure_of(job, message, self.ref))
            return
        attempt = message.attempt_id
        try:
            tail = build_result_tail(message)
            record = self._results.keep(job, attempt, self.ref, tail, read_ns)
        except PeerError as error:
            text = f"the node's result can't be passed on: {error.message}"
            code = ErrorCode.INTERNAL_ERROR
            self._link.send(own_failure(job, attempt, self.ref, code, text, by_node=True))
            raise
        except ArenaFull:
            text = "no room for the result (limits.arena_bytes)"
            self._link.send(own_failure(job, attempt, self.ref, ErrorCode.SERVER_BUSY, text))
            return
        if record is None:  # the node came back and did again what it had done
            self._context.counters.add("results_stale_total")
            return
        self._link.send(record)

    def _partial(self, message: NodeAsrPartial) -> None:
        job = self._attempts.take_partial(message.job_id, self._connection.read_ns)
        if job is None:
            return  # late: the attempt was cancelled, or has ended
        body = encode(PartialBody(message.text, message.is_final))
        if len(body) > PARTIAL_BYTES_MAX:
            raise PeerError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"asr_partial.text is longer than {PARTIAL_BYTES_MAX} bytes",
            )
        if gateway_of(job) == self._context.index:
            self._desk.partial(job, self.ref, body)
        else:
            self._texts.pass_on(Partial(job, self.ref, body))

    # --- pairing -------------------------------------------------------------------------

    def _request_pairing_code(self, _: RequestPairingCode) -> None:
        self._code.start()

    def _offer_code(self, code: str) -> None:
        self._link.send(OfferPairing(self.ref, code))

    def offer_code_again(self) -> None:
        """Tell a new dispatcher of the node's code, if it has one that is good."""
        if self.ref != NO_NODE:
            self._code.offer_again()

    def pairing_offered(self, record: PairingOffered) -> None:
        """Hand the code to the node, unless it was taken or the node has it."""
        try:
            message = self._code.offered(record)
        except PeerError as error:
            self._refuse(error)
            return
        if message is not None:
            self._connection.send(encode(message))

    def pairing_claimed(self, record: PairingClaimed) -> None:
        """A session has used the node's code up."""
        self._code.claimed(record)

    @property
    def attempts(self) -> int:
        """How many jobs the node works on."""
        return len(self._attempts)

    def retire(self) -> None:
        """Get the node no more jobs; it will be asked to come back elsewhere."""
        if not self._retiring and self.ref != NO_NODE:
            self._retiring = True
            self._link.send(NodeHealth(self.ref, False, "its gateway is being replaced"))

    def shut_down(self) -> None:
        """Close with 1012."""
        self._connection.close(CloseCode.SERVICE_RESTART, "service restart")
