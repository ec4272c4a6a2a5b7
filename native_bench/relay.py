"""The least program that could carry jobs at all: a relay of WebSocket messages, in Python.

It uses the library that the gateways use, websockets' sans-I/O protocol, on the same event loop,
and does nothing that a scheduler has to do: no jobs, no JSON, no choice, no limits, no deadlines.
One process, one write for each peer and turn of the loop. What it reaches is the limit that the
scheduler is measured against; `native_bench/c` has the same in C.

Peers connect to `/session` or `/node`, are numbered in the order of their handshakes, each kind
from 0, and are told their number by a first message of eight digits::

    session ──"00000007" body──► relay ──"00000042" body──► node 7      (42: who sent it)
    session 42 ◄──body── relay ◄──"00000042" body── node 7

With its port as `port N` it says that it serves.
"""

import asyncio
import signal
import struct
import sys
from typing import cast

import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from native_bench.open_files import allow_open_files

NUMBER_BYTES = 8
"""Digits before a body."""

_LISTEN_BACKLOG = 4_096
_JOIN_BYTES_MAX = 16 << 10
"""Up to here one copy is cheaper than handing the kernel pieces."""

_SLICE_BYTES = 16 << 10
"""Parsed at a time. The gateways' reason holds here too: fed 64 KiB at a time, messages of 44 KB
take twice as long, for page faults."""

_TEXT = 0x81


class Relay:
    """All peers, and those that there is something to write to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._written: list[Peer] = []
        self.peers: dict[str, list[Peer]] = {"/session": [], "/node": []}

    def new_peer(self) -> "Peer":
        """Return the protocol of a socket just accepted."""
        return Peer(self)

    def write_soon(self, peer: "Peer") -> None:
        """Write to `peer` at the end of this turn of the loop."""
        if not self._written:
            self._loop.call_soon(self._write)
        self._written.append(peer)

    def _write(self) -> None:
        written, self._written = self._written, []
        for peer in written:
            peer.write()


class Peer(asyncio.Protocol):
    """One socket."""

    __slots__ = ("_digits", "_pieces", "_protocol", "_receivers", "_relay", "_transport")

    _transport: asyncio.Transport

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._protocol = ServerProtocol(max_size=None)
        self._digits = b""
        self._pieces: list[bytes] = []
        self._receivers: list[Peer] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Bytes came: pass on the messages in them."""
        protocol = self._protocol
        for start in range(0, len(data), _SLICE_BYTES):
            whole = len(data) <= _SLICE_BYTES
            protocol.receive_data(data if whole else data[start : start + _SLICE_BYTES])
            for event in protocol.events_received():
                if isinstance(event, Frame):
                    self._pass_on(event)
                else:
                    self._open(cast(Request, event))
        for due in protocol.data_to_send():  # pongs, a close, a refused handshake
            self._transport.write(due)
        if protocol.close_expected():
            self._transport.close()

    def _open(self, request: Request) -> None:
        protocol = self._protocol
        protocol.send_response(protocol.accept(request))
        if protocol.state is not OPEN:
            return
        path = request.path
        peers = self._relay.peers
        self._receivers = peers["/node" if path == "/session" else "/session"]
        number = b"%0*d" % (NUMBER_BYTES, len(peers[path]))
        peers[path].append(self)
        # A node's messages go to the session as they are.
        self._digits = number if path == "/session" else b""
        protocol.send_text(number)

    def _pass_on(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.TEXT:
            return
        body = cast(bytes, frame.data)
        frame.data = b""  # the parser holds on to its last frame
        receiver = self._receivers[int(body[:NUMBER_BYTES])]
        receiver.send(self._digits, body[NUMBER_BYTES:])

    def send(self, digits: bytes, rest: bytes) -> None:
        """Queue one text message."""
        if not self._pieces:
            self._relay.write_soon(self)
        self._pieces += (_text_head(len(digits) + len(rest)), digits, rest)

    def write(self) -> None:
        """Write all that is queued, in one call."""
        pieces, self._pieces = self._pieces, []
        if sum(map(len, pieces)) <= _JOIN_BYTES_MAX:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines(pieces)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all ends are alike
        """The socket is gone. Its number stays taken."""
        self._protocol.parser.close()


def _text_head(length: int) -> bytes:
    """Return the head of an unmasked text frame, RFC 6455 section 5.2."""
    if length < 126:
        return bytes((_TEXT, length))
    if length < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, length)
    return struct.pack("!BBQ", _TEXT, 127, length)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Relay(loop).new_peer, "127.0.0.1", 0, backlog=_LISTEN_BACKLOG)
    sys.stdout.write(f"port {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await ended.wait()


if __name__ == "__main__":
    allow_open_files()
    uvloop.run(_serve())
