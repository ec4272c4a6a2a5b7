"""Echoes through our connection beside websockets' own asyncio server, both on uvloop.

One process, over loopback: a time is that of both ends and the kernel for one batch of echoes. The
client is the same raw protocol for both, so it narrows the difference but doesn't turn it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from scheduler.config import LimitSettings
from scheduler.gateway.connection import Connection
from scheduler.gateway.listener import ConnectionSettings, Listener, Route
from tests.benchmarks.sizes import sized
from tests.gateway.sockets import LOOPS, TEXT, CounterSink, FakeLife, frame, handshake

CONNECTIONS = 8
IN_FLIGHT = 4
"""Messages on their way per connection."""

BATCH = sized({256: 2_000, 44_000: 400}, {256: 80, 4_400: 40})
"""Echoes timed at once, by message size."""

ServePort = Callable[[], AbstractAsyncContextManager[int]]


class EchoPeer:
    def __init__(self, connection: Connection) -> None:
        connection.mark_identified()
        self.on_text = self.on_binary = connection.send

    def on_closed(self) -> None:
        del self.on_text, self.on_binary


@asynccontextmanager
async def ours() -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    listener = Listener(
        loop,
        ConnectionSettings(LimitSettings(messages_per_second_max=1_000_000)),
        routes=[Route("/ws", EchoPeer)],
        responders={},
        counters=CounterSink(),
        count_refusal=lambda _: None,
        life=FakeLife(),
    )
    server = await loop.create_server(listener.new_connection, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await listener.wait_closed(2)


@asynccontextmanager
async def theirs() -> AsyncIterator[int]:
    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve_websockets(echo, "127.0.0.1", 0, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


class EchoClient(asyncio.Protocol):
    """Sends a message whenever one has come back."""

    def __init__(self, size: int) -> None:
        self._message = frame(TEXT, b"x" * size)
        self._echo_bytes = len(self._message) - 4  # a server's carry no mask
        self._received_bytes = 0
        self._to_send = self._to_receive = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._write = cast(asyncio.Transport, transport).write
        self._write(handshake())

    def data_received(self, data: bytes) -> None:
        if not self._to_receive:
            assert data.startswith(b"HTTP/1.1 101 ")
            self.done.set_result(None)
            return
        self._received_bytes += len(data)
        echoes, self._received_bytes = divmod(self._received_bytes, self._echo_bytes)
        self._to_receive -= echoes
        self._send(echoes)
        if not self._to_receive:
            self.done.set_result(None)

    def start(self, messages: int) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._to_send = self._to_receive = messages
        self._send(IN_FLIGHT)

    def _send(self, messages: int) -> None:
        messages = min(messages, self._to_send)
        self._to_send -= messages
        if messages:
            self._write(self._message * messages)

    def close(self) -> None:
        self._transport.close()


@pytest.mark.parametrize("size", BATCH)
@pytest.mark.parametrize("server", [ours, theirs])
def test_echo(benchmark: BenchmarkFixture, server: ServePort, size: int) -> None:
    benchmark.group = f"echo of {size} B, {BATCH[size]} times"

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        context = server()
        port = runner.run(_enter(context))
        clients = runner.run(_connect(port, size))

        def batch() -> None:
            runner.run(_echo(clients, BATCH[size] // CONNECTIONS))

        benchmark(batch)
        for client in clients:
            client.close()
        runner.run(_leave(context))


async def _enter(context: AbstractAsyncContextManager[int]) -> int:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[int]) -> None:
    await context.__aexit__(None, None, None)


async def _connect(port: int, size: int) -> list[EchoClient]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(lambda: EchoClient(size), "127.0.0.1", port)
        clients.append(client)
    await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), 10)
    return clients


async def _echo(clients: list[EchoClient], messages: int) -> None:
    for client in clients:
        client.start(messages)
    await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), 60)
