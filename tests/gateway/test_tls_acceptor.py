"""Connections over TLS: all that holds without it, and what the handshake adds."""

import asyncio
import errno
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from scheduler.gateway.connection import REFUSALS_AT_ONCE_MAX
from scheduler.identity.credentials import TlsFiles
from scheduler.identity.tls import server_context
from tests.gateway.sockets import (
    LOOPS,
    TEXT,
    FakeLife,
    RawSocket,
    Site,
    close_frame,
    frame,
    handshake,
    run_on,
    serve,
    until,
)
from tests.identity.certificates import Authority

CA, OTHER_CA = Authority(), Authority("another CA")
FILES = TlsFiles(*CA.issue("server"))
TRUSTING = ssl.create_default_context(cadata=CA.pem.decode())

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@asynccontextmanager
async def client(site: Site, context: ssl.SSLContext = TRUSTING) -> AsyncIterator[ClientConnection]:
    async with connect(site.url, ssl=context, proxy=None, max_size=None) as socket:
        yield socket


async def raw_tls(site: Site) -> RawSocket:
    """Connect with TLS, without a WebSocket handshake."""
    streams = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=TRUSTING, server_hostname="127.0.0.1"
    )
    raw = RawSocket(*streams)
    site.raws.append(raw)
    return raw


def test_messages_of_any_size_go_both_ways(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site, client(site) as socket:
            for size in (0, 1, 20_000, 3_000_000):
                await socket.send("x" * size)
                assert len(await socket.recv()) == size
            await socket.send(b"audio")
            peer = await site.peer()
            await until(lambda: peer.binaries == [b"audio"])
            assert peer.connection.peer_address == "127.0.0.1"
            assert not peer.connection.certificate
            assert site.counters["connections"] == 1

    run_on(loop, scenario)


def test_what_comes_with_the_last_of_the_handshake_is_not_lost(loop: str) -> None:
    """In TLS 1.3 a client may ask in the same packet that ends its handshake."""

    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await site.raw()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            end = TRUSTING.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            while True:
                try:
                    end.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    raw.send(outgoing.read())
                    incoming.write(await raw.reader.read(65_536))
            end.write(handshake() + frame(TEXT, b"at once"))
            raw.send(outgoing.read())
            received = b""
            while b"at once" not in received:
                incoming.write(await asyncio.wait_for(raw.reader.read(65_536), 10))
                try:
                    while True:
                        received += end.read()
                except ssl.SSLWantReadError:
                    continue
            assert received.startswith(b"HTTP/1.1 101 ")

    run_on(loop, scenario)


def test_plain_requests_are_answered_and_the_socket_closes(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await raw_tls(site)
            raw.send(b"GET /health HTTP/1.1\r\n\r\n")
            assert (await raw.rest()).endswith(b"\r\n\r\nOK")
            raw = await raw_tls(site)
            raw.send(handshake("/elsewhere"))
            head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404 ")
            assert json.loads(body) == {"error": "no such path"}

    run_on(loop, scenario)


def test_both_sides_close_in_good_order(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES), close_timeout_seconds=60) as site:
            async with client(site) as socket:
                await socket.close(1000, "bye")
            await until(lambda: site.peers[0].closed == 1)
            async with client(site) as socket:
                await until(lambda: len(site.peers) == 2)
                site.peers[1].connection.send(b"last")
                site.peers[1].connection.close(1008, "UNAUTHORIZED")
                assert await socket.recv() == "last"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (1008, "UNAUTHORIZED")
            raw = await raw_tls(site)
            raw.send(handshake() + close_frame(1000))
            assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
            assert await raw.close_code() == 1000
            await until(lambda: len(site.listener) == 0)

    run_on(loop, scenario)


def test_a_broken_rule_still_gets_its_close_code(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await raw_tls(site)
            raw.send(handshake() + frame(TEXT, b"x", masked=False))
            assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
            assert await raw.close_code() == 1002

    run_on(loop, scenario)


def test_a_peer_that_does_not_read_is_cut(loop: str) -> None:
    async def scenario() -> None:
        async with (
            serve(tls=server_context(FILES), write_buffer_bytes_max=1 << 20) as site,
            client(site) as socket,
        ):
            peer = await site.peer()
            socket.transport.pause_reading()
            while not site.counters["slow_readers_cut_total"]:
                peer.connection.send(b"x" * 100_000)
                await asyncio.sleep(0)
            await until(lambda: peer.closed == 1)
            socket.transport.abort()

    run_on(loop, scenario)


# --- handshakes that fail -------------------------------------------------------------------


@pytest.mark.parametrize("data", [handshake(), b"\x16\x03\x01\x02\x00garbage" * 50, b"\x00" * 100])
def test_who_speaks_no_tls_is_cut(loop: str, data: bytes) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await site.raw()
            raw.send(data)
            assert not (await raw.rest()).startswith(b"HTTP")
            await until(lambda: site.counters["handshakes_failed_total"] == 1)
            assert site.counters["connections"] == 0
            assert site.peers == []

    run_on(loop, scenario)


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_is_cut(loop: str, data: bytes) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES), handshake_timeout_seconds=0.1) as site:
            raw = await site.raw()
            raw.send(data)
            assert await raw.rest() == b""
            await until(lambda: site.counters["handshakes_failed_total"] == 1)
            assert site.counters["connections"] == 0

    run_on(loop, scenario)


def test_a_peer_that_leaves_during_the_handshake_is_forgotten(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            leaving, resetting = await site.raw(), await site.raw()
            await until(lambda: site.counters["connections"] == 2)
            leaving.send(b"\x16\x03")
            await leaving.close()
            resetting.writer.transport.abort()
            await until(lambda: site.counters["handshakes_failed_total"] == 2)
            assert site.counters["connections"] == 0

    run_on(loop, scenario)


def test_the_first_message_has_its_deadline_over_tls_too(loop: str) -> None:
    async def scenario() -> None:
        async with (
            serve(tls=server_context(FILES), first_message_timeout_seconds=0.05) as site,
            client(site) as socket,
        ):
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1008
            assert site.counters["handshakes_failed_total"] == 0

    run_on(loop, scenario)


def test_sockets_in_the_handshake_are_bounded(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway.connection.REFUSALS_AT_ONCE_MAX", 3)
    assert REFUSALS_AT_ONCE_MAX > 3, "the real one would need as many sockets"

    async def scenario() -> None:
        async with serve(tls=server_context(FILES), connections_per_gateway_max=2) as site:
            raws = [await site.raw() for _ in range(7)]
            await until(lambda: site.counters["handshakes_failed_total"] == 2)
            assert site.counters["connections"] == 5
            for raw in raws:
                await raw.close()
            await until(lambda: site.counters["connections"] == 0)

    run_on(loop, scenario)


def test_those_over_the_limit_get_their_503(loop: str) -> None:
    async def scenario() -> None:
        async with (
            serve(tls=server_context(FILES), connections_per_gateway_max=1) as site,
            client(site),
        ):
            raw = await raw_tls(site)
            raw.send(handshake())
            assert (await raw.response()).startswith(b"HTTP/1.1 503 ")

    run_on(loop, scenario)


def test_each_socket_of_an_address_counts_once_from_the_start_of_its_handshake(loop: str) -> None:
    async def scenario() -> None:
        async with serve(
            tls=server_context(FILES), connections_per_address_max=2, handshake_timeout_seconds=60
        ) as site:
            addresses = site.listener._context.addresses
            for _ in range(20):  # at the limit, so that one counted twice would be refused
                async with client(site), client(site):
                    pass
                await until(lambda: len(site.listener) == 0)
            silent = [await site.raw() for _ in range(2)]
            await until(lambda: site.counters["connections"] == 2)
            raw = await raw_tls(site)
            raw.send(handshake())
            assert (await raw.response()).startswith(b"HTTP/1.1 429 ")
            await raw.close()
            for failing in silent:
                failing.send(b"no TLS" * 10)
            await until(lambda: site.counters["connections"] == 0)
            assert len(addresses) == 0
            async with client(site), client(site):
                assert len(addresses) == 1
        assert len(addresses) == 0

    run_on(loop, scenario)


def test_the_end_cuts_handshakes_that_are_under_way(loop: str) -> None:
    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await site.raw()
            await until(lambda: site.counters["connections"] == 1)
            await asyncio.wait_for(site.listener.wait_closed(0), 10)
            assert site.counters["connections"] == 0
            assert await raw.rest() == b""

    run_on(loop, scenario)


def test_it_waits_while_there_are_no_files_to_spare(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.gateway.tls_acceptor._PAUSE_SECONDS", 0.01)
    accept, failures = socket.socket.accept, [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    def exhausted(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise OSError(failures.pop(), "none left")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", exhausted)

    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site, client(site) as waiting:
            await waiting.send("at last")
            assert await waiting.recv() == "at last"
        assert failures == []

    run_on(loop, scenario)


def test_it_closes_while_it_waits(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(listening: socket.socket) -> tuple[socket.socket, object]:
        tried.set()
        raise OSError(errno.EMFILE, "none left")

    tried = threading.Event()
    monkeypatch.setattr(socket.socket, "accept", exhausted)

    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site:
            raw = await site.raw()
            await until(tried.is_set)
        assert await raw.rest() == b""

    run_on(loop, scenario)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_each_handshake_shows_life(loop: str, name: str) -> None:
    """Also that of a client that names no server, as clients do where it is an address."""
    life = FakeLife(due_ns=0)

    async def scenario() -> None:
        async with serve(tls=server_context(FILES), life=life) as site:
            raw = await site.raw()
            outgoing = ssl.MemoryBIO()
            end = TRUSTING.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
            with pytest.raises(ssl.SSLWantReadError):
                end.do_handshake()
            raw.send(outgoing.read())
            await until(lambda: bool(life.shown_ns))

    run_on(loop, scenario)


# --- certificates ---------------------------------------------------------------------------


def test_a_client_certificate_is_seen(loop: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.load_cert_chain(*CA.issue("node-7").write(tmp_path_factory.mktemp("client"), "n"))
    mutual = TlsFiles(FILES.cert, FILES.key, CA.pem)

    async def scenario() -> None:
        async with serve(tls=server_context(mutual)) as site:
            async with client(site, context):
                await until(lambda: len(site.peers) == 1)
                found = site.peers[0].connection.certificate
                assert found["subject"] == ((("commonName", "node-7"),),)
            async with client(site):
                await until(lambda: len(site.peers) == 2)
                assert not site.peers[1].connection.certificate

    run_on(loop, scenario)


def test_one_of_another_ca_does_not_get_in(
    loop: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    pair = OTHER_CA.issue("node-7")
    context.load_cert_chain(*pair.write(tmp_path_factory.mktemp("client"), "n"))
    mutual = TlsFiles(FILES.cert, FILES.key, CA.pem)

    async def scenario() -> None:
        async with serve(tls=server_context(mutual)) as site:
            with pytest.raises((OSError, InvalidHandshake)):
                async with client(site, context):
                    pass
            await until(lambda: site.counters["handshakes_failed_total"] == 1)
            assert site.peers == []

    run_on(loop, scenario)


def test_a_new_certificate_is_for_new_sockets(loop: str) -> None:
    new_ca = Authority("the next CA")
    trusting_new = ssl.create_default_context(cadata=new_ca.pem.decode())

    async def scenario() -> None:
        async with serve(tls=server_context(FILES)) as site, client(site) as old:
            site.listener.tls = server_context(TlsFiles(*new_ca.issue("server")))
            async with client(site, trusting_new) as new:
                await new.send("new")
                assert await new.recv() == "new"
            with pytest.raises(ssl.SSLCertVerificationError):
                async with client(site):
                    pass
            await old.send("old")
            assert await old.recv() == "old"

    run_on(loop, scenario)
