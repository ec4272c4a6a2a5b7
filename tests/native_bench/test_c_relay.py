"""The bare relay in C, peer by peer. With the driver it is tested in test_driver.py."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from native_bench.build import SANITIZERS, build
from scheduler.programs import running


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("relay", tmp_path_factory.mktemp("relay"), SANITIZERS)


@pytest.fixture
def port(relay: Path, tmp_path: Path) -> Iterator[int]:
    with running(tmp_path, "relay", command=[str(relay)], talks=True) as program:
        yield int(program.read_line().removeprefix(b"port "))
    assert program.process.returncode == 0


def opened(port: int, path: str) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", compression=None, max_size=None)


async def number_of(peer: ClientConnection) -> str:
    number = await peer.recv()
    assert isinstance(number, str)
    return number


def test_peers_are_numbered_by_kind_and_reach_each_other(port: int) -> None:
    async def run() -> None:
        async with (
            opened(port, "/node") as node_0,
            opened(port, "/session") as session_0,
            opened(port, "/session") as session_1,
            opened(port, "/node") as node_1,
        ):
            peers = (node_0, node_1, session_0, session_1)
            numbers = [await number_of(peer) for peer in peers]
            assert numbers == ["00000000", "00000001"] * 2
            for size in (0, 1, 100, 125, 126, 1_000, 65_535, 65_536, 1_000_000):
                await session_1.send("00000000" + "s" * size)
                assert await node_0.recv() == "00000001" + "s" * size
                await node_1.send("00000000" + "n" * size)
                assert await session_0.recv() == "n" * size

    asyncio.run(run())


def test_what_is_for_nobody_is_dropped(port: int) -> None:
    async def run() -> None:
        async with opened(port, "/node") as node, opened(port, "/session") as session:
            assert await number_of(node) == await number_of(session) == "00000000"
            async with opened(port, "/node") as gone:
                assert await number_of(gone) == "00000001"
            for number in ("00000001", "00000002", "99999999"):
                await session.send(number + "to nobody")
            await session.send("00000000to somebody")
            assert await node.recv() == "00000000to somebody"
            await (await session.ping())

    asyncio.run(run())


@pytest.mark.parametrize("message", ["", "0000000", "0000000x", "-0000001", b"00000000binary"])
def test_who_breaks_the_framing_is_cut_off(port: int, message: str | bytes) -> None:
    async def run() -> None:
        async with opened(port, "/session") as session, opened(port, "/node") as node:
            await number_of(session)
            await session.send(message)
            with pytest.raises(ConnectionClosed):
                await session.recv()
            assert await number_of(node) == "00000000"

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /elsewhere HTTP/1.1\r\nSec-WebSocket-Key: 0123456789012345678901==\r\n\r\n",
        b"GET /node HTTP/1.1\r\n\r\n",
        b"POST /node HTTP/1.1\r\nSec-WebSocket-Key: 0123456789012345678901==\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_what_is_no_handshake_is_refused(port: int, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(10)
        peer.sendall(request_bytes)
        assert peer.recv(100).startswith(b"HTTP/1.1 400 ")
