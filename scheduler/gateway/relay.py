"""Leads a socket on to the gateway that owns its session, byte by byte in both directions.

    client ══ socket ══ Splice ══ unix socket ══ Connection of the other gateway

All gateways accept on the same listening socket, so a client that comes back may reach another
than before. What it sends is masked already and what it is sent needs no mask: after a handshake
of ours at the unix socket, and a word about who comes, the frames of both pass through unread.

An end is read from only while the other one takes what it is sent, so no more than a read and a
write buffer is held. Where one end closes so does the other, after a while at the latest.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from scheduler.config import LimitSettings
from scheduler.gateway.connection import WRITE_PAUSE_BYTES, Connection
from scheduler.gateway.handshake import HEAD_BYTES_MAX, library_log
from scheduler.gateway.messages import busy, encode
from scheduler.gateway.relayed import RELAY_PATH, Introduction
from scheduler.gateway.resuming import Refuse, gone
from scheduler.ipc.relay_sockets import RelaySockets

_OWNER = parse_uri(f"ws://gateway{RELAY_PATH}")
_HEAD_END = b"\r\n\r\n"


class Relays:
    """The sockets that one gateway leads on to others."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: LimitSettings, sockets: RelaySockets
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._sockets = sockets
        self._leading: set[asyncio.Task[None]] = set()

    def lead(self, connection: Connection, gateway: int, refuse: Refuse) -> None:
        """Hand a socket over to another gateway, or call `refuse` with the reason why not."""
        task = self._loop.create_task(self._lead(connection, gateway, refuse))
        self._leading.add(task)
        task.add_done_callback(self._leading.discard)

    async def _lead(self, connection: Connection, gateway: int, refuse: Refuse) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake_timeout_seconds):
                owner, answer = await self._dial(gateway)
        except (FileNotFoundError, ConnectionRefusedError):
            refuse(gone())
        except OSError:  # also a timeout
            refuse(busy("the session's gateway is behind"))
        else:
            if connection.can_hand_over:
                connection.hand_over(self._splice(connection.peer_address, owner, answer))
                return
            owner.abort()
            refuse(busy("wait for session_init_ack after session_resume"))

    def _splice(self, peer_address: str, owner: asyncio.Transport, answer: bytes) -> "Splice":
        introduction = Frame(Opcode.TEXT, encode(Introduction(peer_address)))
        return Splice(
            self._loop,
            self._limits.close_timeout_seconds,
            owner,
            introduction.serialize(mask=True),
            answer,
        )

    async def _dial(self, gateway: int) -> tuple[asyncio.Transport, bytes]:
        """Return a WebSocket to another gateway, and what that sent behind its handshake."""
        transport, dialing = await self._loop.create_unix_connection(
            lambda: _Dialing(self._loop), sock=self._sockets.connect(gateway)
        )
        try:
            return transport, await dialing.opened
        except BaseException:
            transport.abort()
            raise

    def close(self) -> None:
        """Lead no more sockets; those that were stay, as connections of their listener."""
        for task in self._leading:
            task.cancel()


class _Dialing(asyncio.Protocol):
    """The handshake at another gateway's socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[bytes] = loop.create_future()
        """Has what followed the handshake; ConnectionError where that failed."""
        self._protocol = ClientProtocol(_OWNER, logger=library_log)
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._protocol.send_request(self._protocol.connect())
        self._transport.write(b"".join(self._protocol.data_to_send()))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(_HEAD_END)
        if self.opened.done() or not (end or len(head) > HEAD_BYTES_MAX):
            return
        self._transport.pause_reading()
        self._protocol.receive_data(head + end)
        if self._protocol.state is OPEN:
            self.opened.set_result(rest)
        else:
            self.opened.set_exception(ConnectionError("the gateway has no room"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("the gateway has ended"))


class Splice:
    """Two sockets, of which each gets what the other brings."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        close_timeout_seconds: float,
        owner: asyncio.Transport,
        greeting: bytes,
        answer: bytes,
    ) -> None:
        """The `owner` is sent the `greeting` first, and has sent the `answer` already."""
        self._loop = loop
        self._close_timeout_seconds = close_timeout_seconds
        self._owner = owner
        self._greeting = greeting
        self._answer = answer
        self._open: set[asyncio.Transport] = set()
        self._silent: set[asyncio.Transport] = set()
        """Those that will bring no more."""
        self._deadline: asyncio.TimerHandle | None = None
        self._tell_gone: Callable[[], None]

    def take_over(
        self, client: asyncio.Transport, early: bytes, on_gone: Callable[[], None]
    ) -> None:
        """Go on with the frames that came first: the other gateway reads them again."""
        owner = self._owner
        self._tell_gone = on_gone
        self._open |= {client, owner}
        client.set_protocol(_End(self, client, owner))
        owner.set_protocol(_End(self, owner, client))
        owner.set_write_buffer_limits(WRITE_PAUSE_BYTES)
        if owner.is_closing():  # it may have been told already that its socket is gone
            self.lost(owner)
            return
        owner.write(self._greeting + early)
        if self._answer:
            client.write(self._answer)
        owner.resume_reading()

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        """Close both without a close frame, for half of another may have gone before it."""
        self.end()

    def abort(self) -> None:
        """Cut both off."""
        for transport in self._open:
            transport.abort()

    def end(self) -> None:
        """Close both once they were sent what is on its way there."""
        self._start_ending()
        for transport in self._open:
            transport.close()

    def silent(self, transport: asyncio.Transport) -> None:
        """One brings no more; the other may, for a while."""
        self._silent.add(transport)
        self._start_ending()
        if self._silent >= self._open:
            self.end()

    def _start_ending(self) -> None:
        """Cut off whichever is still there after a while."""
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._close_timeout_seconds, self.abort)

    def lost(self, transport: asyncio.Transport) -> None:
        """One is gone; harmless when repeated."""
        if transport not in self._open:
            return
        self._open.remove(transport)
        self.end()
        if not self._open:
            assert self._deadline is not None
            self._deadline.cancel()
            self._tell_gone()


class _End(asyncio.Protocol):
    """One of the two sockets; what it brings goes `onward`."""

    def __init__(
        self, splice: Splice, transport: asyncio.Transport, onward: asyncio.Transport
    ) -> None:
        self._splice = splice
        self._transport = transport
        self._onward = onward

    def data_received(self, data: bytes) -> None:
        if not self._onward.is_closing():
            self._onward.write(data)

    def pause_writing(self) -> None:
        self._onward.pause_reading()

    def resume_writing(self) -> None:
        self._onward.resume_reading()

    def eof_received(self) -> bool:
        if not self._onward.can_write_eof():  # TLS has no half-closed sockets
            self._onward.close()
        elif not self._onward.is_closing():
            self._onward.write_eof()
        self._splice.silent(self._transport)
        return self._transport.can_write_eof()  # the other direction may go on

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all ends are alike
        self._splice.lost(self._transport)
