"""Sockets that are led to another gateway, byte by byte."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import pytest

from scheduler.config import LimitSettings
from scheduler.errors import PeerError
from scheduler.gateway.connection import EARLY_BYTES_MAX, Connection
from scheduler.gateway.relay import Relays, Splice
from scheduler.identity.credentials import TlsFiles
from scheduler.identity.tls import server_context
from scheduler.ipc.relay_sockets import RelaySockets
from tests.gateway.relayed_sites import Owner, an_owner
from tests.gateway.sockets import (
    BINARY,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RawSocket,
    RecordingPeer,
    Site,
    close_frame,
    frame,
    handshake,
    run_on,
    serve,
    until,
)
from tests.identity.certificates import Authority

CA = Authority()
FILES = TlsFiles(*CA.issue("server"))
TRUSTING = ssl.create_default_context(cadata=CA.pem.decode())

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Led(RecordingPeer):
    """Leads its socket to gateway 1 with the first text message."""

    relays: Relays

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        connection.keep_early()
        self.answer = self.lead
        self.refusals: list[PeerError] = []

    def lead(self, _: bytes) -> None:
        self.relays.lead(self.connection, 1, self.refusals.append)
        self.answer = lambda _: None


@asynccontextmanager
async def leading(
    folder: Path, *, tls: ssl.SSLContext | None = None, **limits: Any
) -> AsyncIterator[Site]:
    """A gateway that leads its sockets on."""
    with closing(RelaySockets(folder)) as sockets:
        loop = asyncio.get_running_loop()
        settings = LimitSettings(**{"close_timeout_seconds": 0.2, **limits})
        relays = Relays(loop, settings, sockets)
        peer = type("LedHere", (Led,), {"relays": relays})
        async with serve(peer=peer, tls=tls, **limits) as site:
            yield site
        relays.close()


async def refusal(site: Site) -> PeerError:
    peer = await site.peer()
    assert isinstance(peer, Led)
    await until(lambda: bool(peer.refusals))
    (error,) = peer.refusals
    return error


async def led(site: Site, owner: Owner, secure: bool = False) -> RawSocket:
    """Return a client that was led to the owner."""
    if secure:
        streams = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=TRUSTING, server_hostname="127.0.0.1"
        )
        raw = RawSocket(*streams)
        site.raws.append(raw)
        raw.send(handshake())
        await raw.response()
    else:
        raw = await site.raw_websocket()
    raw.send(frame(TEXT, b"first"))
    assert await raw.frame() == (TEXT, b"first")
    return raw


async def gone(site: Site, owner: Owner) -> None:
    """Return when neither gateway has anything of the socket left."""
    await until(lambda: site.counters["connections"] == owner.counters["connections"] == 0)


# --- what passes ---------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_frames_of_any_size_pass_both_ways(loop: str, tmp_path: Path, secure: bool) -> None:
    rng = random.Random(3)
    context = server_context(FILES) if secure else None

    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path, tls=context) as site:
            raw = await led(site, owner, secure)
            for size in (0, 1, 125, 126, 70_000, 3_000_000):
                text = rng.randbytes(size).hex()[:size].encode()
                raw.send(frame(TEXT, text))
                assert await raw.frame() == (TEXT, text)
            raw.send(frame(BINARY, bytes(1_000)) + frame(PING, b"p"))
            assert await raw.frame() == (PONG, b"p")
            assert (await owner.peer()).binaries == [bytes(1_000)]
            assert site.counters["connections"] == owner.counters["connections"] == 1
            raw.send(close_frame(1000))
            assert await raw.close_code() == 1000
            await gone(site, owner)

    run_on(loop, scenario)


def test_what_came_meanwhile_is_read_by_the_owner(loop: str, tmp_path: Path) -> None:
    """Whole messages, half of one, and a ping."""

    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path) as site:
            raw = await site.raw_websocket()
            third = frame(TEXT, b"third")
            raw.send(frame(TEXT, b"first") + frame(TEXT, b"second") + third[:4])
            assert await raw.frame() == (TEXT, b"first")
            assert await raw.frame() == (TEXT, b"second")
            raw.send(third[4:])
            assert await raw.frame() == (TEXT, b"third")
            assert (await owner.peer()).texts == [b"first", b"second", b"third"]

    run_on(loop, scenario)


def test_an_owner_is_not_read_from_while_the_client_takes_nothing(
    loop: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        limits = {"write_buffer_bytes_max": 64 << 20}
        async with an_owner(tmp_path, **limits) as owner, leading(tmp_path) as site:
            raw = await led(site, owner)
            transport = cast(asyncio.Transport, raw.writer.transport)  # uvloop's is no subclass
            transport.pause_reading()
            peer = await owner.peer()
            sent = 0
            while not peer.connection.is_reading_paused:
                peer.connection.send(b"x" * 100_000)
                sent += 1
                assert sent < 600, "the owner's socket never fills"
                await asyncio.sleep(0)
            transport.resume_reading()
            for _ in range(sent):
                assert await raw.frame() == (TEXT, b"x" * 100_000)

    run_on(loop, scenario)


# --- how it ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_the_owners_goodbye_reaches_the_client(loop: str, tmp_path: Path, secure: bool) -> None:
    context = server_context(FILES) if secure else None

    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path, tls=context) as site:
            raw = await led(site, owner, secure)
            (await owner.peer()).connection.close(1000, "that was all")
            assert await raw.close_code() == 1000
            await gone(site, owner)

    run_on(loop, scenario)


@pytest.mark.parametrize("side", ["client", "owner", "between"])
def test_where_one_side_is_cut_off_so_is_the_other(loop: str, tmp_path: Path, side: str) -> None:
    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path) as site:
            raw = await led(site, owner)
            if side == "client":
                raw.writer.transport.abort()
            elif side == "owner":
                (await owner.peer()).connection.abort()
            else:
                site.listener.close_all(1012, "service restart")
            await gone(site, owner)
            assert (await owner.peer()).closed == 1

    run_on(loop, scenario)


def test_a_client_that_only_says_no_more_is_not_waited_for(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            an_owner(tmp_path) as owner,
            leading(tmp_path, close_timeout_seconds=60.0) as site,
        ):
            raw = await led(site, owner)
            raw.writer.write_eof()
            await gone(site, owner)

    run_on(loop, scenario)


class DeadTransport:
    """A transport whose protocol has been told that it is lost."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.closed = 0

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        assert high

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1

    abort = close


class LiveTransport(DeadTransport):
    def is_closing(self) -> bool:
        return self.closed > 0


def test_an_owner_that_went_between_its_answer_and_the_hand_over_costs_the_client_its_socket(
    loop: str,
) -> None:
    async def scenario() -> None:
        client, owner, told = LiveTransport(), DeadTransport(), list[bool]()
        splice = Splice(asyncio.get_running_loop(), 9.0, owner, b"hello", b"")  # type: ignore[arg-type]
        splice.take_over(client, b"early", lambda: told.append(True))  # type: ignore[arg-type]
        assert client.closed == 1
        assert not told
        owner.protocol.connection_lost(None)  # which may come as well
        client.protocol.connection_lost(None)
        client.protocol.connection_lost(None)
        assert told == [True]

    run_on(loop, scenario)


# --- who is not led ------------------------------------------------------------------------


def test_where_the_gateway_does_not_run_the_session_is_gone(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with leading(tmp_path) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"first"))
            assert (await refusal(site)).code == "INVALID_SESSION"
            assert site.peers[0].connection.is_open

    run_on(loop, scenario)


def test_where_the_gateway_has_no_room_the_client_may_come_again(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            an_owner(tmp_path, connections_per_gateway_max=1) as owner,
            leading(tmp_path) as site,
        ):
            await led(site, owner)
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"first"))
            peer = site.peers[1]
            assert isinstance(peer, Led)
            await until(lambda: bool(peer.refusals))
            assert peer.refusals[0].code == "SERVER_BUSY"

    run_on(loop, scenario)


def test_a_gateway_that_does_not_answer_is_given_up(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        with closing(RelaySockets(tmp_path)) as sockets, sockets.listen(1) as listening:
            listening.listen()
            async with leading(tmp_path, handshake_timeout_seconds=0.1) as site:
                raw = await site.raw_websocket()
                raw.send(frame(TEXT, b"first"))
                assert (await refusal(site)).code == "SERVER_BUSY"

    run_on(loop, scenario)


def test_a_client_that_says_too_much_before_the_answer_is_refused(
    loop: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"first") + frame(TEXT, bytes(EARLY_BYTES_MAX)))
            error = await refusal(site)
            assert error.code == "SERVER_BUSY"
            assert "session_init_ack" in error.message
            await until(lambda: owner.counters["connections"] == 0)
            assert not owner.peers

    run_on(loop, scenario)


def test_a_client_that_is_gone_before_the_answer_leaves_nothing(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with an_owner(tmp_path) as owner, leading(tmp_path) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"first"))
            await until(lambda: bool(site.peers and site.peers[0].texts))
            site.peers[0].connection.abort()
            await gone(site, owner)

    run_on(loop, scenario)
