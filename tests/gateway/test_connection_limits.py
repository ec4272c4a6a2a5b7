"""Each limit of a connection, over real sockets on both event loops."""

import asyncio
import contextlib
import json
import socket

import pytest
from websockets.asyncio.client import connect

from tests.gateway.sockets import (
    BINARY,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RawSocket,
    RunLoop,
    Scenario,
    Site,
    close_frame,
    frame,
    handshake,
    run_on,
    serve,
    until,
)

CONT = 0
MANY = 1_000_000


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> RunLoop:
    def run(scenario: Scenario) -> None:
        run_on(request.param, scenario)

    return run


# --- deadlines ---------------------------------------------------------------------------


def test_a_handshake_that_drips_is_cut_off(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(handshake_timeout_seconds=0.2) as site:
            raw = await site.raw()
            drip = asyncio.ensure_future(_drip(raw, handshake(**{"X-Long": "x" * 5_000})))
            await until(lambda: site.counters["handshakes_failed_total"] == 1)
            assert not drip.done(), "it was still sending"
            drip.cancel()
            assert len(site.listener) == 0
            assert not site.peers

    run(scenario)


async def _drip(raw: RawSocket, data: bytes) -> None:
    for byte in data:
        raw.send(bytes((byte,)))
        await asyncio.sleep(0.01)


def test_who_never_says_who_it_is_gets_1008(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(first_message_timeout_seconds=0.1) as site, connect(site.url) as client:
            await client.send("a message, but not the right one")
            await client.wait_closed()
            assert client.close_code == 1008

    run(scenario)


def test_the_identified_have_no_deadline(run: RunLoop) -> None:
    async def scenario() -> None:
        async with (
            serve(first_message_timeout_seconds=0.2) as site,
            connect(site.url) as known,
        ):
            (await site.peer()).connection.mark_identified()
            async with connect(site.url) as unknown:  # connected later, so its deadline is later
                await unknown.wait_closed()
            await known.send("still here")
            assert await known.recv() == "still here"

    run(scenario)


# --- keepalive ---------------------------------------------------------------------------


def test_who_answers_pings_stays(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(ping_interval_seconds=0.04, ping_timeout_seconds=0.04) as site:
            raw = await site.raw_websocket()
            for _ in range(5):
                opcode, payload = await raw.frame()
                assert opcode == PING
                raw.send(frame(PONG, payload))
            raw.send(frame(TEXT, b"alive"))
            while (received := await raw.frame())[0] == PING:
                raw.send(frame(PONG, received[1]))
            assert received == (TEXT, b"alive")

    run(scenario)


@pytest.mark.parametrize("pong", [b"", frame(PONG), frame(PONG, b"\0" * 8), frame(PING)])
def test_only_the_matching_pong_counts(run: RunLoop, pong: bytes) -> None:
    async def scenario() -> None:
        async with serve(
            ping_interval_seconds=0.04, ping_timeout_seconds=0.1, messages_per_second_max=MANY
        ) as site:
            raw = await site.raw_websocket()
            raw.send(pong)
            opcode, _ = await raw.frame()
            while opcode in {PING, PONG}:
                raw.send(pong)
                opcode, payload = await raw.frame()
            assert payload[:2] == (1011).to_bytes(2, "big")
            await until(lambda: len(site.listener) == 0)

    run(scenario)


def test_a_pong_that_may_lie_unread_is_not_missed(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url):
            connection = (await site.peer()).connection
            connection.ping(1)
            assert connection.awaited_pong == 1
            connection.pause_writing()
            assert connection.awaited_pong == -1
            connection.ping(2)
            assert connection.awaited_pong == 2, "by then it must have caught up"
            connection.resume_writing()
            assert connection.awaited_pong == -1

    run(scenario)


# --- sizes and counts --------------------------------------------------------------------


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_message_too_large_gets_an_error_and_1009(run: RunLoop, fragmented: bool) -> None:
    async def scenario() -> None:
        async with serve(message_bytes_max=1_024) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"x" * 1_024))
            assert await raw.frame() == (TEXT, b"x" * 1_024)
            if fragmented:
                raw.send(frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 600))
            else:
                raw.send(frame(BINARY, b"x" * 1_025)[:20])  # its head is enough
            opcode, payload = await raw.frame()
            assert opcode == TEXT
            error = json.loads(payload)
            assert (error["type"], error["code"]) == ("error", "MESSAGE_TOO_LARGE")
            assert site.refusals == ["MESSAGE_TOO_LARGE"]
            assert "1024" in error["message"]
            assert await raw.close_code() == 1009

    run(scenario)


def test_connections_beyond_the_cap_get_503(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(connections_per_gateway_max=2) as site:
            async with connect(site.url), connect(site.url):
                raw = await site.raw()
                raw.send(handshake())
                response = await raw.response()
                assert response.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: " in response
                await raw.close()
                health = await site.raw()
                health.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await health.response()).startswith(b"HTTP/1.1 200 ")
                await health.close()
            await until(lambda: len(site.listener) == 0)
            async with connect(site.url) as client:
                await client.send("room again")
                assert await client.recv() == "room again"

    run(scenario)


def test_far_beyond_the_cap_nobody_is_listened_to(
    run: RunLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.gateway.connection.REFUSALS_AT_ONCE_MAX", 1)

    async def scenario() -> None:
        async with serve(connections_per_gateway_max=1) as site:
            for _ in range(2):
                await site.raw()
            await until(lambda: len(site.listener) == 2)
            one_more = await site.raw()
            with contextlib.suppress(ConnectionError):
                assert await one_more.rest() == b""
            await one_more.close()

    run(scenario)


# --- rate --------------------------------------------------------------------------------


def test_messages_over_the_rate_are_dropped_and_told_once(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=5) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"x") * 40)
            received = [await raw.frame() for _ in range(11)]
            assert received[:10] == [(TEXT, b"x")] * 10
            error = json.loads(received[10][1])
            assert (error["type"], error["code"]) == ("error", "RATE_LIMITED")
            assert site.counters["messages_rate_limited_total"] == 30
            assert site.counters["messages_received_total"] == 10
            await asyncio.sleep(0.3)  # so that the bucket has a token again
            raw.send(frame(TEXT, b"later"))
            assert await raw.frame() == (TEXT, b"later")

    run(scenario)


@pytest.mark.parametrize("flood", [frame(TEXT, b"x"), frame(BINARY), frame(PING), frame(PONG)])
def test_a_flood_gets_1008(run: RunLoop, flood: bytes) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=5) as site:
            raw = await site.raw_websocket()
            raw.send(flood * 200)
            assert await raw.close_code() == 1008
            peer = await site.peer()
            assert len(peer.texts) + len(peer.binaries) <= 10

    run(scenario)


def test_a_flood_in_one_read_is_noticed_before_all_of_it_is_parsed(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=5) as site:
            raw = await site.raw_websocket()
            raw.send(frame(PING) * 30_000)
            pongs = 0
            while (await raw.frame())[0] != 8:
                pongs += 1
            assert pongs < 10_000

    run(scenario)


def test_many_fragments_cost_more_than_one_message(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=1) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"x", fin=False) + frame(CONT, fin=False) * 200 + frame(CONT))
            assert json.loads((await raw.frame())[1])["code"] == "RATE_LIMITED"
            assert site.peers[0].texts == []

    run(scenario)


# --- peers that don't read ---------------------------------------------------------------


async def _deaf_websocket(site: Site) -> socket.socket:
    """Return a WebSocket whose client reads nothing and buffers little."""
    loop = asyncio.get_running_loop()
    deaf = socket.socket()
    deaf.setblocking(False)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await loop.sock_connect(deaf, ("127.0.0.1", site.port))
    await loop.sock_sendall(deaf, handshake())
    await loop.sock_recv(deaf, 1)
    return deaf


def test_a_slow_reader_is_cut_at_the_high_water_mark(run: RunLoop) -> None:
    async def scenario() -> None:
        limit = 1 << 20
        async with serve(write_buffer_bytes_max=limit) as site:
            with await _deaf_websocket(site):
                peer = await site.peer()
                for _ in range(200):
                    if not peer.connection.is_open:
                        break
                    peer.connection.send(b"x" * 200_000)
                    await asyncio.sleep(0)
                await until(lambda: peer.closed == 1 and len(site.listener) == 0)
                assert site.counters["slow_readers_cut_total"] == 1

    run(scenario)


def test_one_turn_cannot_queue_without_end(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(write_buffer_bytes_max=1 << 20) as site:
            with await _deaf_websocket(site):
                peer = await site.peer()
                sent = 0
                while peer.connection.is_open and sent < 100:
                    peer.connection.send(b"x" * 200_000)
                    sent += 1
                assert sent < 10
                assert site.counters["slow_readers_cut_total"] == 1

    run(scenario)


def test_an_identified_peer_may_have_a_rate_of_its_own_and_is_told_that_one(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=1) as site:
            raw = await site.raw_websocket()
            peer = await site.peer()
            peer.connection.mark_identified(50)
            raw.send(frame(TEXT, b"?") * 120)
            answer = await raw.frame()
            while answer == (TEXT, b"?"):
                answer = await raw.frame()
            error = json.loads(answer[1])
            assert error["code"] == "RATE_LIMITED"
            assert "50 messages" in error["message"]
            assert set(site.refusals) == {"RATE_LIMITED"}
            assert 100 <= len(peer.texts) < 120

    run(scenario)


def test_an_identified_peer_may_have_a_bound_of_unread_bytes_of_its_own(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(write_buffer_bytes_max=1 << 20) as site:
            with await _deaf_websocket(site):
                peer = await site.peer()
                peer.connection.mark_identified(None, 20 << 20)
                sent = 0
                while peer.connection.is_open and sent < 200:
                    peer.connection.send(b"x" * 200_000)
                    sent += 1
                assert 100 <= sent < 120

    run(scenario)


@pytest.mark.parametrize("request_frame", [frame(TEXT, b"?"), frame(PING, b"x" * 125)])
def test_requests_whose_replies_are_not_read_stop_being_read(
    run: RunLoop, request_frame: bytes
) -> None:
    async def scenario() -> None:
        async with serve(messages_per_second_max=MANY) as site:
            with await _deaf_websocket(site) as deaf:
                peer = await site.peer()
                # All requests of one read are answered, up to 37,000 of them: as much as an error
                # each, and they stay below the mark at which the peer would be cut.
                peer.answer = lambda _: peer.connection.send(b"x" * 200)
                loop = asyncio.get_running_loop()
                batch = request_frame * (100 if len(request_frame) < 100 else 1_000)
                with pytest.raises(TimeoutError):  # noqa: PT012 - any of them may get stuck
                    for _ in range(20_000):
                        await asyncio.wait_for(loop.sock_sendall(deaf, batch), 0.3)
                assert peer.connection.is_open, "it is paused, not cut"
                assert site.counters["slow_readers_cut_total"] == 0

    run(scenario)


def test_reading_goes_on_once_the_peer_reads(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            peer = await site.peer()
            # More than the kernel's buffers for one socket take.
            messages = [b"x" * (4 << 20)] * 3
            for message in messages:
                peer.connection.send(message)
            await asyncio.sleep(0.05)
            raw.send(frame(TEXT, b"?"))
            for message in messages:
                assert await raw.frame() == (TEXT, message)
            assert await raw.frame() == (TEXT, b"?")

    run(scenario)


def test_a_reader_that_never_catches_up_is_cut_by_keepalive(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(ping_interval_seconds=0.1, ping_timeout_seconds=0.1) as site:
            with await _deaf_websocket(site):
                peer = await site.peer()
                for _ in range(40):
                    peer.connection.send(b"x" * 200_000)
                await until(lambda: peer.closed == 1 and len(site.listener) == 0)
                assert site.counters["slow_readers_cut_total"] == 1

    run(scenario)


def test_a_close_behind_unread_bytes_ends_too(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=0.1) as site:
            with await _deaf_websocket(site) as deaf:
                peer = await site.peer()
                for _ in range(40):
                    peer.connection.send(b"x" * 200_000)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(deaf, close_frame(1000))
                peer.connection.close(1000, "")
                await until(lambda: peer.closed == 1 and len(site.listener) == 0)

    run(scenario)
