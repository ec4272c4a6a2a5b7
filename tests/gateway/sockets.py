"""A listener on loopback, peers that record, and raw sockets for what no client would send."""

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from scheduler.config import LimitSettings
from scheduler.gateway.connection import Connection
from scheduler.gateway.handshake import HttpResponse, Responder
from scheduler.gateway.listener import ConnectionSettings, Listener, Route

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}
# libuv opens a pipe with its first loop and keeps it; here, no test is taken for its owner.
uvloop.new_event_loop().close()

WAIT_SECONDS = 10.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Scenario = Callable[[], Coroutine[Any, Any, None]]
RunLoop = Callable[[Scenario], None]


def run_on(loop: str, scenario: Scenario) -> None:
    """Run a test's coroutine to its end on the loop of that name; fail after 30 s."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(scenario(), 30))


class RecordingPeer:
    """Echoes text and keeps what happened."""

    is_admitted = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        if self.is_admitted:
            connection.mark_admitted()
        self.texts: list[bytes] = []
        self.binaries: list[bytes] = []
        self.closed = 0
        self.answer: Callable[[bytes], None] = connection.send

    def on_text(self, message: bytes) -> None:
        self.texts.append(message)
        self.answer(message)

    def on_binary(self, message: bytes) -> None:
        self.binaries.append(message)

    def on_closed(self) -> None:
        self.closed += 1


class Stranger(RecordingPeer):
    """One that was not admitted yet."""

    is_admitted = False


class CounterSink:
    """Counters that a test reads by name."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()

    def add(self, name: str, n: int = 1, /) -> None:
        self.values[name] += n

    def __getitem__(self, name: str) -> int:
        return self.values[name]


class FakeLife:
    """Shows no life, and keeps when it was asked to."""

    def __init__(self, due_ns: int = 1 << 63) -> None:
        self.due_ns = due_ns
        self.shown_ns: list[int] = []

    def progress(self, now_ns: int) -> None:
        self.shown_ns.append(now_ns)


class Site:
    """A listener that serves `/ws` and `/health` on a free port."""

    def __init__(self, listener: Listener, counters: CounterSink) -> None:
        self.listener = listener
        self.counters = counters
        self.peers: list[RecordingPeer] = []
        self.refusals: list[str] = []
        self.port = 0
        self.raws: list[RawSocket] = []

    @property
    def url(self) -> str:
        scheme = "ws" if self.listener.tls is None else "wss"
        return f"{scheme}://127.0.0.1:{self.port}/ws"

    async def peer(self) -> RecordingPeer:
        """Return the first peer, once it is there."""
        await until(lambda: bool(self.peers))
        return self.peers[0]

    async def raw(self, host: str = "127.0.0.1") -> "RawSocket":
        """Connect from that address of this machine, without a handshake."""
        streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        raw = RawSocket(*streams)
        self.raws.append(raw)
        return raw

    async def raw_websocket(self) -> "RawSocket":
        """Connect and shake hands."""
        raw = await self.raw()
        raw.send(handshake())
        assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
        return raw


@asynccontextmanager
async def serve(
    *,
    origins: frozenset[str] = frozenset(),
    tls: ssl.SSLContext | None = None,
    reads_tokens: bool = False,
    responders: Mapping[str, Responder] | None = None,
    peer: Callable[[Connection], RecordingPeer] = RecordingPeer,
    life: FakeLife | None = None,
    **limits: Any,
) -> AsyncIterator[Site]:
    """Serve with these limits; check that at the end all is closed and nobody was told twice."""
    counters = CounterSink()
    peers: list[RecordingPeer] = []
    refusals: list[str] = []

    def make_peer(connection: Connection) -> RecordingPeer:
        peers.append(peer(connection))
        return peers[-1]

    loop = asyncio.get_running_loop()
    listener = Listener(
        loop,
        ConnectionSettings(
            LimitSettings(**{"close_timeout_seconds": 0.2, **limits}), origins, reads_tokens
        ),
        routes=[Route("/ws", make_peer)],
        responders=responders or {"/health": lambda: HttpResponse(200, "text/plain", b"OK")},
        counters=counters,
        count_refusal=refusals.append,
        life=life or FakeLife(),
    )
    listener.tls = tls
    site = Site(listener, counters)
    site.peers = peers
    site.refusals = refusals
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    site.port = listening.getsockname()[1]
    server = await listener.serve(listening)
    try:
        yield site
    finally:
        for raw in site.raws:
            await raw.close()
        server.close()
        await listener.wait_closed(2)
        if isinstance(server, asyncio.Server):
            await server.wait_closed()
    assert counters["connections"] == 0
    assert [peer.closed for peer in peers] == [1] * len(peers)


class RawSocket:
    """A client that sends any bytes, and reads frames without judging them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> bytes:
        """Read the head of an HTTP response."""
        return await _soon(self.reader.readuntil(b"\r\n\r\n"))

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await _soon(self.reader.read(-1))

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame: opcode, payload."""
        head = await _soon(self.reader.readexactly(2))
        assert head[0] & 0xF0 == 0x80, "whole frames without reserved bits"
        length = head[1]  # a mask bit would make it absurd
        if length == 126:
            (length,) = struct.unpack("!H", await _soon(self.reader.readexactly(2)))
        elif length == 127:
            (length,) = struct.unpack("!Q", await _soon(self.reader.readexactly(8)))
        return head[0] & 0x0F, await _soon(self.reader.readexactly(length))

    async def close_code(self) -> int:
        """Read frames up to the close frame and the end of the stream; return its code."""
        opcode, payload = await self.frame()
        while opcode != CLOSE:
            opcode, payload = await self.frame()
        assert await self.rest() == b"", "nothing follows a close frame"
        return int.from_bytes(payload[:2], "big")

    async def close(self) -> None:
        """Close the socket."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return  # reset by the server, which is what some tests are about


async def _soon(result: Awaitable[bytes]) -> bytes:
    return await asyncio.wait_for(result, WAIT_SECONDS)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds`; fail after 10 s."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "it never came to hold"
        await asyncio.sleep(0.005)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0
) -> bytes:
    """Return a client's frame, or what looks like one."""
    mask = b"\x0a\x0b\x0c\x0d" if masked else b""
    length = len(payload)
    bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    if masked:
        repeated = mask * (length // 4 + 1)
        whole = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:length], "big")
        payload = whole.to_bytes(length, "big")
    return head + mask + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a client's close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def handshake(path: str = "/ws", method: str = "GET", **headers: str) -> bytes:
    """Return an opening handshake; `headers` are added or replace, "" leaves one out."""
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
