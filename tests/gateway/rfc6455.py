"""Cases of RFC 6455: what a client sends, and what must come back over a real socket.

The files test_rfc6455_*.py cover what the Autobahn test suite covers, written from the RFC. Each
case is judged three times: its bytes arrive at once, chopped, and one by one. The cases of a
module share one listener, on the event loop that gateways run on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway.sockets import (
    CLOSE,
    LOOPS,
    PING,
    PONG,
    RawSocket,
    RecordingPeer,
    Site,
    frame,
    serve,
    until,
)

CONT = 0
MESSAGE_BYTES_MAX = 1 << 20

LIMITS: dict[str, Any] = {
    "message_bytes_max": MESSAGE_BYTES_MAX,
    # Neither rates nor deadlines are the matter here.
    "messages_per_second_max": 1_000_000,
    "close_timeout_seconds": 60,
}

_BY_ONE_BYTES_MAX = 600
_PIECE_BYTES = 997
"""A prime, so that pieces end at all places of what repeats."""
_FENCE = b"fence"
_JUDGED_SECONDS_MAX = 60.0
_TURNS_MAX = 20

Frame = tuple[int, bytes]
"""(opcode, payload)"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent after the handshake, and what the RFC asks for."""

    sent: bytes
    replies: tuple[Frame, ...] = ()
    """Frames that come back, in order, before a close frame."""
    close: int | None = None
    """Code with which the server closes; None: the connection goes on."""
    binaries: tuple[bytes, ...] = ()
    """Binary messages that the server was given; it answers none."""


# --- how bytes are written --------------------------------------------------------------------


async def write_at_once(raw: RawSocket, data: bytes) -> None:
    """Write everything in one go."""
    raw.send(data)


async def write_chopped(raw: RawSocket, data: bytes) -> None:
    """Write 1, 2, 3, … bytes at a time, so that pieces end at unlike places of frames."""
    start, size = 0, 1
    while start < len(data):
        await _write_piece(raw, data[start : start + size])
        start += size
        size = min(size + 1, _PIECE_BYTES)


async def write_by_one(raw: RawSocket, data: bytes) -> None:
    """Write byte by byte; of long data the beginning and the end so, and pieces in between."""
    start = 0
    while start < len(data):
        rest = len(data) - start
        by_one = start < _BY_ONE_BYTES_MAX or rest <= _BY_ONE_BYTES_MAX
        size = 1 if by_one else min(_PIECE_BYTES, rest - _BY_ONE_BYTES_MAX)
        await _write_piece(raw, data[start : start + size])
        start += size


async def _write_piece(raw: RawSocket, piece: bytes) -> None:
    raw.send(piece)
    await asyncio.sleep(0)  # it is written, and read at the other end, before the next


Write = Callable[[RawSocket, bytes], Awaitable[None]]
WRITES: tuple[Write, ...] = (write_at_once, write_chopped, write_by_one)


# --- the bench --------------------------------------------------------------------------------


class Bench:
    """A listener with its event loop, on which the cases of a module are judged."""

    def __init__(self, **limits: Any) -> None:
        """Serve with LIMITS and what is laid over them."""
        self._stack = ExitStack()
        self._runner = self._stack.enter_context(asyncio.Runner(loop_factory=LOOPS["uvloop"]))
        serving = serve(**{**LIMITS, **limits})
        self.site: Site = self._runner.run(serving.__aenter__())
        self._stack.callback(lambda: self._runner.run(serving.__aexit__(None, None, None)))

    def close(self) -> None:
        """End the listener, which checks that nothing is left, and the loop."""
        self._stack.close()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it to its end; then all connections must be gone."""
        self._runner.run(asyncio.wait_for(self._settle(coroutine), _JUDGED_SECONDS_MAX))

    async def _settle(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        finally:
            for raw in self.site.raws:
                await raw.close()
            self.site.raws.clear()
        for _ in range(_TURNS_MAX):  # mostly enough, and many cases would each poll once otherwise
            if len(self.site.listener) == 0:
                return
            await asyncio.sleep(0)
        await until(lambda: len(self.site.listener) == 0)

    def judge(self, case: Case) -> None:
        """Judge a case by each way of writing it."""
        for write in WRITES:
            self.run(self._judge(case, write))

    async def open(self) -> tuple[RawSocket, RecordingPeer]:
        """Return a new WebSocket and the server's side of it."""
        before = len(self.site.peers)
        raw = await self.site.raw_websocket()
        await until(lambda: len(self.site.peers) > before)
        return raw, self.site.peers[-1]

    async def _judge(self, case: Case, write: Write) -> None:
        raw, peer = await self.open()
        await write(raw, case.sent)
        for reply in case.replies:
            assert await raw.frame() == reply, write.__name__
        if case.close is None:
            raw.send(frame(PING, _FENCE))
            assert await raw.frame() == (PONG, _FENCE), f"{write.__name__}: it goes on"
        else:
            opcode, payload = await raw.frame()
            assert opcode == CLOSE, write.__name__
            assert int.from_bytes(payload[:2], "big") == case.close, write.__name__
            assert payload[2:].decode().isprintable(), "the reason is UTF-8"
            assert await raw.rest() == b"", "nothing follows a close frame"
        assert tuple(peer.binaries) == case.binaries, write.__name__


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The module's listener."""
    with ExitStack() as stack:
        bench = Bench()
        stack.callback(bench.close)
        yield bench
