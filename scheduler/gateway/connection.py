"""One accepted socket of a gateway.

    opening ──handshake──► open ──close(), the peer's close, a broken rule──► closing ──► lost
       └───────────a plain request answered, a handshake refused────────────────┘

Nobody is waited for without end: opening, the first message, closing and a peer that doesn't read
have deadlines, and pings must be answered.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, cast
from typing import Protocol as Interface

import structlog
from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode
from websockets.protocol import OPEN, SEND_EOF

from scheduler.config import LimitSettings
from scheduler.gateway.addresses import Addresses
from scheduler.gateway.handshake import Accepted, Entrance, Handshake, Refused, Room
from scheduler.gateway.inbound import Inbound, Message, OverRate, Pong, Violation
from scheduler.gateway.keepalive import Keepalive
from scheduler.gateway.messages import busy, error_message, error_of
from scheduler.gateway.outbound import Outbound, ping_payload, short_reason
from scheduler.gateway.turns import Turns
from scheduler.gateway.unfinished import Unfinished
from scheduler.protocol.codes import ErrorCode

WRITE_PAUSE_BYTES = 256 << 10
"""Unsent bytes at which a connection's messages are no longer read. Far under the mark at which
it is cut, so that requests whose replies nobody reads stop here; and above a loaded node's jobs
on a slow line, whose heartbeats must be read."""

EARLY_BYTES_MAX = 4 << 10
"""Kept of what a peer sends before it is identified, where another may have to read it again."""

FIRST_MESSAGE_BYTES_MAX = 256 << 10
"""Of who has not been admitted yet: the registration of a node with a thousand models and as many
running jobs. Decoding what is hostile takes 20 to 40 ms a megabyte."""

STRANGERS_TURN_BYTES = 16 << 10
"""From here on a message of such a peer waits for its turn; honest first ones are below it."""

TURN_BYTES = 1 << 20
"""Likewise of all others: half a minute of speech."""

REFUSALS_AT_ONCE_MAX = 1_024
"""Sockets over connections_per_gateway_max that still get their 503, or /health."""

_log = structlog.get_logger(__name__)


class Peer(Interface):
    """Who talks on an open connection: what a route's factory returns."""

    def on_text(self, message: bytes) -> None:
        """Take one whole text message, valid UTF-8."""

    def on_binary(self, message: bytes) -> None:
        """Take one whole binary message."""

    def on_closed(self) -> None:
        """Nothing comes or goes any more; called once, whatever the reason."""


class Successor(Interface):
    """Serves a socket that a connection handed over."""

    def take_over(
        self, transport: asyncio.Transport, early: bytes, on_gone: Callable[[], None], /
    ) -> None:
        """Set another protocol; `early` is what the peer sent since its handshake.

        `on_gone` is to be called when all is over.
        """

    def close(self, code: int, reason: str) -> None:
        """Close, with this code where there is a way to say it."""

    def abort(self) -> None:
        """Cut the socket off."""


class Counters(Interface):
    """Where connections count, by the names of layout.GATEWAY_COUNTERS."""

    def add(self, name: str, n: int = 1, /) -> None:
        """Add `n`, which is negative where a gauge sinks."""


class Life(Interface):
    """Where this process shows that its loop moves."""

    due_ns: int
    """When the next sign of life is overdue."""

    def progress(self, now_ns: int, /) -> None:
        """Show life now, in the middle of a turn."""


class Phase(Enum):
    """Where a connection is in its life."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    LOST = "lost"


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionContext:
    """What all connections of a listener share."""

    loop: asyncio.AbstractEventLoop
    limits: LimitSettings
    entrance: Entrance
    factories: Mapping[str, Callable[["Connection"], Peer]]
    """Makers of peers, by the path of the handshake."""
    counters: Counters
    count_refusal: Callable[[str], None]
    """Counts what a connection refuses by itself, by code."""
    keepalive: Keepalive
    connections: set["Connection | Successor"]
    """All sockets now open, in whatever phase."""
    unfinished: Unfinished
    """Messages that are not whole yet."""
    openings: set[asyncio.Task[None]]
    """Of sockets in the TLS handshake, which are no connections yet."""
    addresses: Addresses
    """All these sockets, by the address at the other end."""
    life: Life
    turns: Turns
    """Of messages that take long."""

    @property
    def has_room(self) -> bool:
        """Whether another socket may at least be told that there are too many."""
        sockets = len(self.connections) + len(self.openings)
        return sockets < self.limits.connections_per_gateway_max + REFUSALS_AT_ONCE_MAX

    def show_life(self, now_ns: int) -> None:
        """Show that the loop moves, in the middle of a turn that is long."""
        if now_ns > self.life.due_ns:
            self.life.progress(now_ns)


class Connection(asyncio.Protocol):
    """A socket, from being accepted to being lost."""

    __slots__ = (
        "__weakref__",
        "_address_key",
        "_context",
        "_early",
        "_flush_due",
        "_handshake",
        "_handshake_failed",
        "_inbound",
        "_outbound",
        "_peer",
        "_phase",
        "_timer",
        "_transport",
        "_turn_bytes",
        "_turns_due",
        "_unfinished_bytes",
        "_unwritten_bytes_max",
        "_writing_paused",
        "awaited_pong",
        "bearer",
        "is_ended",
        "keepalive_slot",
        "peer_address",
        "read_ns",
    )

    _transport: asyncio.Transport

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self._phase = Phase.OPENING
        self._handshake: Handshake | None = Handshake(context.entrance)
        self._handshake_failed = True  # until it succeeds
        self._inbound: Inbound | None = None
        self._unfinished_bytes = 0
        self._turn_bytes = STRANGERS_TURN_BYTES
        self._turns_due = 0
        self._outbound = Outbound()
        self._unwritten_bytes_max = context.limits.write_buffer_bytes_max
        self._flush_due = False
        self._writing_paused = False
        self._peer: Peer | None = None
        self._early: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._address_key = ""
        self.awaited_pong = -1
        self.keepalive_slot = -1
        self.peer_address = ""
        """The peer's host."""
        self.bearer: str | None = None
        """The token of the handshake's Authorization header, until the peer is identified; None:
        there was none, or none is asked for."""
        self.read_ns = 0
        """When the bytes that are being taken were read from the socket, monotonic."""
        self.is_ended = False
        """Whether it closes for good: we closed it, the peer broke a rule, or a handler failed.
        Else the socket was lost."""

    # --- for the peer object -------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages come and go."""
        return self._phase is Phase.OPEN

    @property
    def is_reading_paused(self) -> bool:
        """Whether what the peer sends waits until it has read what it was sent."""
        return self._writing_paused

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The client certificate that the peer proved, as SSLSocket.getpeercert() gives it.

        It is one of the CA that was set for them; empty where there is none.
        """
        return self._transport.get_extra_info("peercert") or {}

    def mark_admitted(self) -> None:
        """Take messages of full length: the peer is who it says it is, or need not be anybody."""
        self._turn_bytes = TURN_BYTES
        if self._inbound is not None:
            self._inbound.allow_messages_of(self._context.limits.message_bytes_max)

    def mark_identified(
        self,
        messages_per_second_max: int | None = None,
        unwritten_bytes_max: int | None = None,
    ) -> None:
        """Stop the wait for the first message: the peer has said who it is.

        `messages_per_second_max` is its own rate from now on, where it has one, and
        `unwritten_bytes_max` its own bound of what it has not read.
        """
        self.bearer = self._early = None
        self.mark_admitted()
        if self._phase is Phase.OPEN:
            self._set_deadline(None)
            self._unwritten_bytes_max = unwritten_bytes_max or self._unwritten_bytes_max
            if messages_per_second_max is not None and self._inbound is not None:
                self._inbound.allow(messages_per_second_max, self._context.loop.time())

    def pass_to(self, peer: Peer) -> None:
        """Have another peer talk from now on; the one so far hears no more."""
        if self._peer is not None:
            self._peer = peer

    def keep_early(self) -> None:
        """Keep what the peer sends until it is identified, for `hand_over`."""
        self._early = b""

    @property
    def can_hand_over(self) -> bool:
        """Whether all that the peer sent is still there, and it reads what it is sent."""
        return self._phase is Phase.OPEN and self._early is not None and not self._writing_paused

    def hand_over(self, successor: Successor) -> None:
        """Have `successor` serve the socket; for the peer the connection is lost."""
        assert self.can_hand_over
        assert self._early is not None
        context, address_key = self._context, self._address_key

        def gone() -> None:
            context.addresses.leave(address_key)
            context.connections.discard(successor)
            context.counters.add("connections", -1)

        self._flush()
        self._address_key = ""  # the socket counts on
        self.connection_lost(None)
        context.connections.add(successor)
        context.counters.add("connections")
        successor.take_over(self._transport, self._early, gone)

    def send(self, message: bytes) -> None:
        """Send one text message; dropped unless the connection is open."""
        self.send_parts((message,))

    def send_parts(self, parts: Sequence[bytes]) -> None:
        """Send one text message given in pieces; large ones are not copied."""
        if self._phase is not Phase.OPEN:
            return
        if self._outbound.unwritten_bytes > self._unwritten_bytes_max:
            self._cut_slow_reader()
            return
        self._outbound.add_text(parts)
        self._schedule_flush()

    def close(self, code: int, reason: str) -> None:
        """Send what was queued, then close in good order; harmless when repeated.

        What the peer sends after this is dropped. After close_timeout_seconds the socket is cut.
        """
        if self._phase is Phase.OPENING:
            self.abort()
        elif self._phase is Phase.OPEN:
            self.is_ended = True
            assert self._inbound is not None
            self._inbound.protocol.send_close(code, short_reason(reason))
            self._follow_protocol()

    def abort(self) -> None:
        """Cut the socket off."""
        self._start_closing()
        self._transport.abort()

    # --- for whoever accepts sockets -----------------------------------------------------

    def count_address(self, address: str) -> None:
        """Count the socket as one of its peer's, from now on."""
        if not self._address_key:
            self._address_key = self._context.addresses.enter(address)

    def discount_address(self) -> None:
        """Count it no more: it is gone. Harmless when repeated."""
        self._context.addresses.leave(self._address_key)
        self._address_key = ""

    # --- what the event loop calls -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        context, limits = self._context, self._context.limits
        address = transport.get_extra_info("peername")
        self.peer_address = str(address[0]) if address else ""
        self.count_address(self.peer_address)
        has_room = context.has_room
        context.connections.add(self)
        context.counters.add("connections")
        if not has_room:
            self.abort()
            return
        high = min(WRITE_PAUSE_BYTES, limits.write_buffer_bytes_max // 2)
        self._transport.set_write_buffer_limits(high, high // 4)
        self._set_deadline(limits.handshake_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._note_time()
        self._context.counters.add("bytes_received_total", len(data))
        if self._phase is Phase.OPENING:
            data = self._open(data)
        if self._early is not None:
            early = self._early + data
            self._early = early if len(early) <= EARLY_BYTES_MAX else None
        if self._inbound is None or self._inbound.protocol.eof_sent:
            return
        if self._turns_due or self._unfinished_bytes + len(data) > self._turn_bytes:
            self._wait_for_turn(data)
        else:
            self._receive(self._inbound, data)

    def eof_received(self) -> None:
        """Nothing will come any more: send what is queued; the transport then closes itself."""
        self._flush()
        self._start_closing()

    def pause_writing(self) -> None:
        """The peer doesn't read what it is sent: don't take requests for more."""
        self._writing_paused = True
        self.awaited_pong = -1
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writing_paused = False
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all ends are alike
        """The socket is gone."""
        self._phase = Phase.LOST
        self._set_deadline(None)
        self._outbound.clear()
        if self._inbound is not None:
            # Its generator refers back to it: without this the collector has to find both.
            self._inbound.protocol.parser.close()
            self._inbound = None
        self._hold_unfinished(0)
        self._context.keepalive.remove(self)
        self._context.connections.discard(self)
        self._context.counters.add("connections", -1)
        self.discount_address()
        if self._handshake_failed:
            self._context.counters.add("handshakes_failed_total")
        self._tell_closed()

    # --- keepalive -----------------------------------------------------------------------

    def ping(self, tick: int) -> None:
        """Ask for a sign of life.

        A peer that is not being read from can't give one: by then it must have caught up.
        """
        if self._turns_due:  # it is we who don't read
            return
        self.awaited_pong = tick
        if not self._writing_paused:
            self._outbound.add_ping(ping_payload(tick))
            self._schedule_flush()

    def ping_timed_out(self) -> None:
        """Close: the peer gave no sign of life."""
        if self._writing_paused:
            self._cut_slow_reader()
        else:
            self._fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    # --- opening -------------------------------------------------------------------------

    def _open(self, data: bytes) -> bytes:
        """Take bytes of the handshake; return those that follow it."""
        context = self._context
        assert self._handshake is not None
        outcome = self._handshake.receive(data, room=self._room())
        if outcome is None:
            return b""
        if isinstance(outcome, Refused) and outcome.code is not None:
            context.count_refusal(outcome.code)
        self._handshake = None
        self._handshake_failed = isinstance(outcome, Refused)
        self._outbound.add(outcome.reply)
        if not isinstance(outcome, Accepted):
            self._start_closing()
            self._flush()
            self._end_writing()
            return b""
        self._phase = Phase.OPEN
        limits = context.limits
        self._inbound = Inbound(
            min(FIRST_MESSAGE_BYTES_MAX, limits.message_bytes_max),
            limits.messages_per_second_max,
            context.loop.time(),
        )
        self._set_deadline(limits.first_message_timeout_seconds)
        context.keepalive.add(self)
        self.bearer = outcome.bearer
        self._peer = context.factories[outcome.path](self)
        return outcome.rest

    def _room(self) -> Room:
        context = self._context
        if len(context.connections) > context.limits.connections_per_gateway_max:
            return Room.FULL
        return Room.ADDRESS_FULL if context.addresses.is_over(self._address_key) else Room.FREE

    # --- messages ------------------------------------------------------------------------

    def _wait_for_turn(self, data: bytes) -> None:
        """Take `data` later, and read nothing until then."""
        self._turns_due += 1
        self.awaited_pong = -1
        self._transport.pause_reading()
        self._hold_unfinished(self._unfinished_bytes + len(data))
        self._context.turns.wait(partial(self._take_turn, data))

    def _take_turn(self, data: bytes) -> None:
        self._turns_due -= 1
        self._note_time()
        if self._inbound is not None and not self._inbound.protocol.eof_sent:
            self._receive(self._inbound, data)
        self._resume_reading()

    def _note_time(self) -> None:
        self.read_ns = now_ns = time.monotonic_ns()
        if now_ns > self._context.life.due_ns:
            self._context.life.progress(now_ns)

    def _resume_reading(self) -> None:
        self.awaited_pong = -1
        if not (self._writing_paused or self._turns_due or self._transport.is_closing()):
            self._transport.resume_reading()

    def _receive(self, inbound: Inbound, data: bytes) -> None:
        self._flush_due = True  # below, so what is sent meanwhile schedules none
        try:
            for event in inbound.receive(data, self._context.loop.time()):
                if inbound.has_pongs:  # they go ahead of answers to what came after their pings
                    self._outbound.add(*inbound.pongs())
                if self._phase is Phase.OPEN:
                    self._take(event)
        except Violation as violation:
            self.is_ended = True
            self._fail(violation.code, violation.reason)
        except Exception:
            self.is_ended = True
            _log.exception("message handler failed", peer=self.peer_address)
            self._fail(CloseCode.INTERNAL_ERROR, "internal error")
        if inbound.protocol.writes or inbound.protocol.state is not OPEN:
            self._follow_protocol()
        else:
            self._flush()
        self._hold_unfinished(inbound.unfinished_bytes)

    def _take(self, event: Message | Pong | OverRate) -> None:
        assert self._peer is not None
        if isinstance(event, Message):
            self._hold_unfinished(0)
            self._context.counters.add("messages_received_total")
            if event.is_text:
                self._peer.on_text(event.payload)
            else:
                self._peer.on_binary(event.payload)
        elif isinstance(event, Pong):
            if event.payload == ping_payload(self.awaited_pong):
                self.awaited_pong = -1
        else:
            self._context.counters.add("messages_rate_limited_total")
            self._context.count_refusal(ErrorCode.RATE_LIMITED)
            if event.tell:
                assert self._inbound is not None
                allowed = self._inbound.messages_per_second_max
                text = f"slow down: {allowed} messages per second are allowed"
                self.send(error_message(ErrorCode.RATE_LIMITED, text))

    def _follow_protocol(self) -> None:
        """Send what the protocol object wants sent; follow it out of the open phase."""
        assert self._inbound is not None
        protocol = self._inbound.protocol
        self.is_ended = self.is_ended or protocol.parser_exc is not None
        writes = protocol.data_to_send()
        if isinstance(protocol.parser_exc, PayloadTooBig) and self._phase is Phase.OPEN:
            self._context.count_refusal(ErrorCode.MESSAGE_TOO_LARGE)
            allowed = self._inbound.message_bytes_max
            which = "a" if allowed == self._context.limits.message_bytes_max else "the first"
            text = f"{which} message may have {allowed} bytes"
            *pongs, close, eof = writes
            self._outbound.add(*pongs)
            self.send(error_message(ErrorCode.MESSAGE_TOO_LARGE, text))
            writes = [close, eof]
        self._outbound.add(*writes)
        if protocol.state is not OPEN:
            self._start_closing()
        self._flush()
        if SEND_EOF in writes and not self._transport.is_closing():
            self._end_writing()

    def _end_writing(self) -> None:
        """Tell the peer that nothing follows; it may have more to say, which is dropped."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:  # TLS has no half-closed sockets
            self._transport.close()

    # --- unfinished messages -------------------------------------------------------------

    def _hold_unfinished(self, size: int) -> None:
        if size or self._unfinished_bytes:
            self._unfinished_bytes = size
            self._context.unfinished.hold(self, size)

    def give_up(self) -> None:
        """Close: what the peer has begun takes room that there is not."""
        self._unfinished_bytes = 0
        self._context.counters.add("unfinished_given_up_total")
        if self._phase is not Phase.OPEN:
            self.abort()
            return
        assert self._inbound is not None
        self._context.count_refusal(ErrorCode.SERVER_BUSY)
        self.send(error_of(busy("there is no room for messages that take long")))
        self._fail(CloseCode.TRY_AGAIN_LATER, "no room for an unfinished message")
        self._inbound.forget()

    # --- sending -------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._context.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        outbound, transport = self._outbound, self._transport
        if not outbound.unwritten_bytes:
            return
        if transport.is_closing():
            outbound.clear()
        elif transport.get_write_buffer_size() > self._unwritten_bytes_max:
            self._cut_slow_reader()
        else:
            self._context.counters.add("messages_sent_total", outbound.messages)
            self._context.counters.add("bytes_sent_total", outbound.unwritten_bytes)
            outbound.write(transport)

    def _cut_slow_reader(self) -> None:
        self._context.counters.add("slow_readers_cut_total")
        self.abort()

    # --- closing -------------------------------------------------------------------------

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Close and don't listen any longer."""
        if self._phase is Phase.OPEN:
            assert self._inbound is not None
            self._inbound.protocol.fail(code, short_reason(reason))
            self._follow_protocol()

    def _start_closing(self) -> None:
        if self._phase in {Phase.CLOSING, Phase.LOST}:
            return
        self._phase = Phase.CLOSING
        self._set_deadline(self._context.limits.close_timeout_seconds)
        self._context.keepalive.remove(self)
        # Not only when the socket is gone, so that a node's jobs fail over at once; and not now,
        # under the feet of a peer that is just calling `close` or `send`.
        self._context.loop.call_soon(self._tell_closed)

    def _tell_closed(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            self._context.show_life(time.monotonic_ns())  # all may go at once
            peer.on_closed()

    def _set_deadline(self, seconds: float | None) -> None:
        """There is one at a time: the phases follow each other."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self._context.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._phase is Phase.OPEN:
            self.close(CloseCode.POLICY_VIOLATION, "no session_init or node_register in time")
        else:
            self.abort()
