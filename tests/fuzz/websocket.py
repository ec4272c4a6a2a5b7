"""Target: the bytes of a socket of a gateway, from its opening to its end."""

import heapq
import itertools
import re
from collections.abc import Callable
from typing import Any, cast

from scheduler.config import LimitSettings
from scheduler.gateway import connection as connection_module
from scheduler.gateway.handshake import HttpResponse
from scheduler.gateway.listener import ConnectionSettings, Listener, Route
from tests.gateway.sockets import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CounterSink,
    FakeLife,
    RecordingPeer,
    close_frame,
    frame,
    handshake,
)

CONT = 0
MESSAGE_BYTES_MAX = 2_048
_BY_ONE_BYTES_MAX, _PIECE_BYTES, _PIECES_BYTES_MAX = 128, 7, 1_024
_LIMITS = LimitSettings(message_bytes_max=MESSAGE_BYTES_MAX, messages_per_second_max=50)
_OPENED, _RAW = 0, 1
"""First byte of an input: behind a good handshake, or from the very first byte of the socket."""


class FakeTimer:
    """A timer of FakeLoop."""

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., None] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class FakeLoop:
    """Callbacks and timers without a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., None], *args: Any) -> FakeTimer:
        return self.call_later(0, callback, *args)

    def call_later(self, seconds: float, callback: Callable[..., None], *args: Any) -> FakeTimer:
        timer = FakeTimer(callback, args)
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        return timer

    def turn(self, seconds: float = 0.0) -> None:
        """Let so much time pass and run what is due."""
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback(*timer.args)


class FakeTransport:
    """A socket whose other end reads everything."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False
        self.eof_written = False

    def write(self, data: bytes) -> None:
        assert not self.eof_written
        self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        assert not self.eof_written
        self.eof_written = True

    def can_write_eof(self) -> bool:
        return True

    def abort(self) -> None:
        self.is_closed = True

    close = abort

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, *_: int) -> None:
        """Nothing is ever unread."""

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 1) if name == "peername" else None


class LoudLog:
    """Stands for the log: where a handler's exception would end."""

    def exception(self, event: str, **_: Any) -> None:
        raise AssertionError(event)  # with what it was called for as its context


class WebSocketTarget:
    """A connection answers, closes, or is cut; it raises nothing and leaves nothing.

    An input's first byte says where it begins, its second how many bytes are read at a time.
    """

    def __init__(self) -> None:
        self._log = connection_module._log
        connection_module._log = LoudLog()
        self._loop = FakeLoop()
        self._counters = CounterSink()
        self._peers: list[RecordingPeer] = []
        self._listener = Listener(
            cast(Any, self._loop),
            ConnectionSettings(_LIMITS),
            routes=[Route("/ws", self._new_peer)],
            responders={"/health": lambda: HttpResponse(200, "text/plain", b"OK")},
            counters=self._counters,
            count_refusal=lambda _: None,
            life=FakeLife(),
        )

    def _new_peer(self, connection: Any) -> RecordingPeer:
        self._peers.append(RecordingPeer(connection))
        return self._peers[-1]

    def seeds(self) -> list[bytes]:
        """Return conversations, whole and broken, and requests."""
        ping = frame(PING, b"p")
        streams = [
            frame(TEXT, b"text"),
            frame(BINARY, b"\xff\xfe"),
            frame(TEXT, "größer".encode()) * 3,
            frame(TEXT, b"a", fin=False) + ping + frame(CONT, b"b", fin=False) + frame(CONT, b"c"),
            frame(TEXT, b"x" * 126) + frame(BINARY, b"y" * MESSAGE_BYTES_MAX),
            frame(BINARY, b"z" * (MESSAGE_BYTES_MAX + 200)),
            frame(TEXT, b"\xff"),
            frame(TEXT, fin=False) * 2,
            frame(CONT),
            ping * 60,
            frame(PONG, b"\0" * 8),
            close_frame(1000, b"bye") + frame(TEXT, b"late"),
            close_frame(1005),
            frame(CLOSE, b"\x03"),
            frame(3),
            frame(TEXT, reserved=4),
            frame(TEXT, b"x", masked=False),
            b"\x81\xff" + b"\xff" * 12,
        ]
        requests = [
            handshake(),
            handshake("/health"),
            handshake("/nowhere", "POST"),
            handshake(Sec_WebSocket_Version="8"),
            handshake(Content_Length="5") + b"hello",
            handshake() + frame(TEXT, b"early"),
            b"\x16\x03\x01" + bytes(40),
        ]
        return [
            bytes((where, size)) + stream
            for where, streams_there in ((_OPENED, streams), (_RAW, requests))
            for stream in streams_there
            for size in (0, 5)
        ]

    def tokens(self) -> list[bytes]:
        """Return frames, heads of frames, and pieces of requests."""
        heads = [bytes((first, second)) for first in (0, 1, 0x81, 0x88) for second in (0x80, 0xFE)]
        return [
            *heads,
            *(frame(TEXT, b"x"), frame(TEXT, b"x", fin=False), frame(CONT), frame(CLOSE)),
            *(close_frame(1000), frame(PING), frame(PONG), b"\xc3\xa9", b"\xff", b"\x81\xff"),
            *(b"GET /ws HTTP/1.1\r\n", b"\r\n\r\n", b"\r\n", b"Host: x\r\n", b"HTTP/1.0"),
            *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b": ", b"\0"),
        ]

    def run(self, data: bytes) -> None:
        """Open a connection, feed it the stream, and lose it; then the same in small pieces."""
        begins, stream = data[:1], data[2:]
        size = (data[1] if len(data) > 1 else 0) or len(data) or 1
        told = self._talk(begins, stream, size)
        if len(stream) <= _PIECES_BYTES_MAX:
            piece = 1 if len(stream) <= _BY_ONE_BYTES_MAX else _PIECE_BYTES
            assert self._talk(begins, stream, piece) == told, "how it is cut makes no difference"

    def _talk(self, begins: bytes, stream: bytes, size: int) -> tuple[object, ...]:
        """Return what the peers were told, and how the connection ended."""
        transport, connection = FakeTransport(), self._listener.new_connection()
        connection.connection_made(cast(Any, transport))
        if begins != bytes((_RAW,)):
            connection.data_received(handshake())
        for start in range(0, len(stream), size):
            if transport.is_closed:
                break
            connection.data_received(stream[start : start + size])
            self._loop.turn()
        if not transport.is_closed:
            connection.eof_received()
        connection.connection_lost(None)
        self._loop.turn(3_600)
        return self._check(bytes(transport.written))

    def _check(self, written: bytes) -> tuple[object, ...]:
        assert len(self._listener) == 0
        assert self._counters["connections"] == 0
        assert self._listener._context.unfinished.bytes == 0
        peers, self._peers[:] = self._peers[:], []
        _check_answers(written, is_open=bool(peers))
        for peer in peers:
            assert peer.closed == 1
            for text in peer.texts:
                text.decode()
            sizes = [len(message) for message in (*peer.texts, *peer.binaries)]
            assert max(sizes, default=0) <= _LIMITS.message_bytes_max
        messages = [(peer.texts, peer.binaries) for peer in peers]
        return (messages, _without_what_varies(written))

    def close(self) -> None:
        """Give the log back."""
        connection_module._log = self._log


def _without_what_varies(written: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", written)


def _check_answers(written: bytes, *, is_open: bool) -> None:
    """What a server sends is an HTTP response, then whole unmasked frames up to a close."""
    if not written:
        return
    head, end, rest = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert end
    assert is_open == head.startswith(b"HTTP/1.1 101 ")
    if not is_open:
        return
    at, closed = 0, False
    while at < len(rest):
        first, length = rest[at], rest[at + 1]
        assert first in {0x81, 0x88, 0x89, 0x8A}, "whole frames without reserved bits"
        assert length <= 126
        assert not closed or first != 0x81, "no message behind a close"
        closed = closed or first == 0x88
        at += 2
        if length == 126:
            length = int.from_bytes(rest[at : at + 2], "big")
            at += 2
        at += length
    assert at == len(rest), "whole frames"
