"""The bounds and deadlines of the operators' port, over real sockets."""

import asyncio
import contextlib
import json
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web, web_app

from scheduler.stats.connections import ConnectionLimits, Door
from scheduler.stats.events import EventStream
from scheduler.stats.http import make_app
from scheduler.stats.meter import RequestMeter
from scheduler.stats.store import MemoryStore
from tests.gateway.sockets import LOOPS, RawSocket, until
from tests.stats.operators import filled, sources

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
STATS = b"GET /api/v1/stats HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BYTES = 16 << 20
LARGE = filled(bytes(LARGE_BYTES))
"""More than the kernel's buffers for one socket take."""


class Port:
    """The operators' port, and who is connected to it."""

    def __init__(self, door: Door, number: int) -> None:
        self.door = door
        self.meter = door.meter
        self.number = number
        self.raws: list[RawSocket] = []

    async def raw(self) -> RawSocket:
        raw = RawSocket(*await asyncio.open_connection("127.0.0.1", self.number))
        self.raws.append(raw)
        return raw

    async def admitted(self) -> RawSocket:
        """Connect, and return once it counts."""
        before = self.meter.connections
        raw = await self.raw()
        await until(lambda: self.meter.connections == before + 1)
        return raw

    async def deaf(self, request: bytes, buffer_bytes: int = 4_096) -> socket.socket:
        """Ask for something, and read nothing of it."""
        deaf = socket.socket()
        deaf.setblocking(False)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", self.number))
        await loop.sock_sendall(deaf, request)
        return deaf

    async def health(self) -> bytes:
        """Return what somebody else is answered now."""
        raw = await self.raw()
        raw.send(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return (await raw.rest())[:15]


@contextlib.asynccontextmanager
async def open_port(
    store: MemoryStore | None = None, stream: EventStream | None = None, **limits: Any
) -> AsyncIterator[Port]:
    meter = RequestMeter(lambda: False)
    parts = {"store": store or MemoryStore(), "meter": meter, "stream": stream or EventStream()}
    runner = web.AppRunner(make_app(sources(**parts)), shutdown_timeout=0.2)
    await runner.setup()
    assert runner.server is not None
    door = Door(runner.server, meter, ConnectionLimits(**limits))
    server = await asyncio.get_running_loop().create_server(door.new_connection, "127.0.0.1", 0)
    port = Port(door, server.sockets[0].getsockname()[1])
    try:
        yield port
    finally:
        for raw in port.raws:
            await raw.close()
        server.close()
        await runner.cleanup()
        await until(lambda: meter.connections == 0)
        await server.wait_closed()
    assert not door._by_address


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    try:
        with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
            runner.run(asyncio.wait_for(scenario(), 30))
    finally:
        # aiohttp remembers the handlers of every application, and so what they read from.
        web_app._cached_build_middleware.cache_clear()


# --- deadlines --------------------------------------------------------------------------------

STALLING = {
    "nothing": b"",
    "half-a-request-line": b"GET /hea",
    "half-a-head": b"GET /health HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.parametrize("sent", STALLING.values(), ids=STALLING)
def test_who_sends_no_request_is_cut_while_others_are_served(sent: bytes) -> None:
    async def scenario() -> None:
        async with open_port(idle_seconds=0.2) as port:
            idle = await port.admitted()
            idle.send(sent)
            assert await port.health() == b"HTTP/1.1 200 OK"
            assert await idle.rest() == b""
            await until(lambda: port.meter.connections == 0)

    run(scenario)


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"GET /", b"x"), (b"GET /health HTTP/1.1\r\n", b"X-Header: x\r\n")],
    ids=["a-byte-at-a-time", "headers-without-end"],
)
def test_a_head_that_drips_is_cut(begin: bytes, piece: bytes) -> None:
    async def scenario() -> None:
        async with open_port(idle_seconds=0.3) as port:
            raw = await port.admitted()
            raw.send(begin)
            while port.meter.connections:
                raw.send(piece)
                await asyncio.sleep(0.02)
            with contextlib.suppress(ConnectionError):  # what came too late is answered so
                assert await raw.rest() == b""

    run(scenario)


def test_a_kept_connection_that_idles_is_cut() -> None:
    async def scenario() -> None:
        async with open_port(idle_seconds=0.2) as port:
            raw = await port.admitted()
            for _ in range(3):
                raw.send(HEALTH)
                assert (await raw.response()).startswith(b"HTTP/1.1 200 OK\r\n")
                assert await raw.reader.readexactly(2) == b"OK"
            assert await raw.rest() == b""

    run(scenario)


def test_a_body_that_never_comes_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with open_port(body_seconds=0.2) as port:
            raw = await port.admitted()
            raw.send(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nx")
            assert (await raw.rest()).startswith(b"HTTP/1.1 405 ")
            await until(lambda: port.meter.connections == 0)

    run(scenario)


# --- sizes ------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    """Return a request whose head has so many bytes, in headers that are not too long."""
    head, line = HEALTH[:-2], b"X: %b\r\n"
    while len(head) + 2 < size:
        rest = size - len(head) - 2
        length = rest if rest < 2_000 else 1_000
        head += line % (b"x" * (length - len(line % b"")))
    return head + b"\r\n"


@pytest.mark.parametrize("piece", [1_000, 1 << 20])
@pytest.mark.parametrize("before", [b"", HEALTH], ids=["first", "second"])
def test_a_head_may_be_as_long_as_the_bound_and_no_longer(piece: int, before: bytes) -> None:
    async def answer(port: Port, head: bytes) -> bytes:
        raw = await port.admitted()
        if before:
            raw.send(before)
            await raw.response()
            await raw.reader.readexactly(2)
        for start in range(0, len(head), piece):
            raw.send(head[start : start + piece])
            await asyncio.sleep(0)
        return (await raw.response())[:12]

    async def scenario() -> None:
        async with open_port() as port:
            assert len(head_of(32 << 10)) == 32 << 10
            assert await answer(port, head_of(32 << 10)) == b"HTTP/1.1 200"
            assert port.meter.bad_requests_total == 0
            assert await answer(port, head_of((32 << 10) + 1)) == b"HTTP/1.1 431"
            assert port.meter.bad_requests_total == 1

    run(scenario)


# --- peers that don't read --------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
def test_who_never_reads_the_answer_is_cut_while_others_are_served(ending: bytes) -> None:
    async def scenario() -> None:
        async with open_port(LARGE, look_seconds=0.2) as port:
            request = STATS.replace(b"Host: x\r\n", b"Host: x\r\n" + ending)
            with await port.deaf(request):
                await until(lambda: port.meter.connections == 1)
                assert await port.health() == b"HTTP/1.1 200 OK"
                await until(lambda: port.meter.connections == 0)
            assert port.meter.slow_readers_cut_total == 1

    run(scenario)


def test_who_reads_slowly_but_steadily_is_served() -> None:
    async def scenario() -> None:
        async with open_port(LARGE, look_seconds=0.5, look_bytes_min=1_000) as port:
            loop = asyncio.get_running_loop()
            with await port.deaf(STATS, buffer_bytes=1 << 20) as slow:
                length = LARGE_BYTES
                while length > 0:
                    length -= len(await loop.sock_recv(slow, 128 << 10))
                    await asyncio.sleep(0.01)
            assert port.meter.slow_readers_cut_total == 0

    run(scenario)


def test_requests_whose_answers_are_not_read_are_not_piled_up() -> None:
    async def scenario() -> None:
        async with open_port() as port:
            loop = asyncio.get_running_loop()
            with await port.deaf(HEALTH) as deaf:
                tracemalloc.start()
                try:
                    with pytest.raises(TimeoutError):  # noqa: PT012 - any of them may get stuck
                        for _ in range(20_000):
                            await asyncio.wait_for(loop.sock_sendall(deaf, HEALTH * 1_000), 0.5)
                    assert tracemalloc.get_traced_memory()[0] < 16 << 20
                finally:
                    tracemalloc.stop()
                assert await port.health() == b"HTTP/1.1 200 OK"

    run(scenario)


# --- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["in_all", "per_address"])
def test_one_connection_more_gets_503_and_counts(limit: str) -> None:
    async def scenario() -> None:
        limits: dict[str, Any] = {limit: 3}
        async with open_port(**limits) as port:
            first, *_ = [await port.admitted() for _ in range(3)]
            for _ in range(5):
                assert (await (await port.raw()).rest()).startswith(b"HTTP/1.1 503 ")
            assert port.meter.connections_refused_total == 5
            assert port.meter.connections == 3
            await first.close()
            await until(lambda: port.meter.connections == 2)
            await port.admitted()

    run(scenario)


def test_addresses_do_not_take_each_others_room() -> None:
    door = Door(None, RequestMeter(lambda: False), ConnectionLimits(in_all=4, per_address=2))  # type: ignore[arg-type]
    assert [door.enter("a") for _ in range(3)] == [True, True, False]
    assert [door.enter("b") for _ in range(3)] == [True, True, False]
    assert not door.enter("c"), "all are taken"
    door.leave("a")
    assert door.enter("c")


def test_event_streams_are_connections_too() -> None:
    async def scenario() -> None:
        stream = EventStream(heartbeat_seconds=0.05)
        async with open_port(stream=stream, idle_seconds=0.1) as port:
            raw = await port.admitted()
            raw.send(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await raw.response()
            for _ in range(10):
                await asyncio.wait_for(raw.reader.readuntil(b": alive\n\n"), 10)
            assert port.meter.connections == 1, "no deadline of a request ends a stream"
            stream.close()

    run(scenario)


# --- what is no HTTP --------------------------------------------------------------------------

GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "zeros": bytes(1_000) + b"\r\n\r\n",
    "a-name-with-a-space": b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
    "a-huge-path": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "a-huge-header": b"GET /health HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    "many-headers": b"GET /health HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n",
    "two-lengths": b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length-and-chunks": (
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "another-version": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_http_is_a_problem_and_no_log(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with open_port(idle_seconds=0.5) as port:
            raw = await port.admitted()
            raw.send(sent)
            answer = await raw.rest()
            assert answer.startswith(b"HTTP/1.0 400 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 400
            assert port.meter.bad_requests_total == 1
            assert await port.health() == b"HTTP/1.1 200 OK"

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
