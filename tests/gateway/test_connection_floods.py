"""Peers that stall and peers that flood: each is bounded in time and room, and others are served.

Time is counted in answers that somebody else gets meanwhile, room in bytes that Python holds.
"""

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from scheduler.gateway.connection import Connection
from tests.gateway.sockets import (
    BINARY,
    CLOSE,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RawSocket,
    RunLoop,
    Scenario,
    Site,
    frame,
    handshake,
    run_on,
    serve,
    until,
)

CONT = 0
ANSWERS = 50


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> RunLoop:
    def run(scenario: Scenario) -> None:
        run_on(request.param, scenario)

    return run


@pytest.fixture
def memory() -> Iterator[None]:
    """Count what is allocated from here on."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def identified(site: Site) -> RawSocket:
    """Return a WebSocket without a deadline for its first message."""
    before = len(site.peers)
    raw = await site.raw_websocket()
    await until(lambda: len(site.peers) > before)
    site.peers[-1].connection.mark_identified()
    return raw


async def check_served(honest: RawSocket) -> None:
    """Check that an honest peer is answered, message by message."""
    for number in range(ANSWERS):
        honest.send(frame(TEXT, b"%d" % number))
        assert await honest.frame() == (TEXT, b"%d" % number)


# --- stalling ---------------------------------------------------------------------------------


def test_headers_without_end_are_cut_at_the_deadline(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(handshake_timeout_seconds=0.3) as site:
            honest = await identified(site)
            raw = await site.raw()
            raw.send(handshake()[:-2])
            lines = 0
            while site.counters["handshakes_failed_total"] == 0:
                raw.send(b"X%d: x\r\n" % lines)
                lines += 1
                await asyncio.sleep(0.02)
            assert lines < 100, "neither their number nor their length ended it"
            await check_served(honest)

    run(scenario)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING], ids=["text", "binary", "ping"])
def test_a_frame_that_drips_is_cut_by_keepalive(run: RunLoop, opcode: int) -> None:
    """Who is in the middle of a frame can't answer a ping."""

    async def scenario() -> None:
        async with serve(ping_interval_seconds=0.2, ping_timeout_seconds=0.2) as site:
            raw = await identified(site)
            frames = frame(opcode, b"x" * 125)
            for byte in frames:
                if not site.peers[0].connection.is_open:
                    break
                raw.send(bytes((byte,)))
                await asyncio.sleep(0.02)
            else:
                pytest.fail("the whole frame was waited for")
            assert await raw.close_code() == 1011
            assert not site.peers[0].texts + site.peers[0].binaries

    run(scenario)


def test_many_who_say_nothing_cost_little_and_are_cut(run: RunLoop, memory: None) -> None:
    count = 150

    async def scenario() -> None:
        async with serve(handshake_timeout_seconds=0.5, first_message_timeout_seconds=0.5) as site:
            honest = await identified(site)
            before = held_bytes()
            for _ in range(count):
                await site.raw()
                await site.raw_websocket()
            await check_served(honest)
            # Both ends of two sockets each, and this test's own stream readers.
            assert held_bytes() - before < count * 40_000
            await until(lambda: len(site.listener) == 1)
            assert site.counters["handshakes_failed_total"] == count
            await check_served(honest)

    run(scenario)


def test_who_comes_and_goes_leaves_nothing(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            honest = await identified(site)
            for sent in (b"", b"GET /ws HT", handshake(), handshake() + frame(TEXT, b"x")[:4]):
                for _ in range(50):
                    raw = await site.raw()
                    raw.send(sent)
                    await asyncio.sleep(0)
                    raw.writer.transport.abort()
            await until(lambda: len(site.listener) == 1)
            site.peers[1:] = [peer for peer in site.peers[1:] if not peer.closed]
            await check_served(honest)
            gc.collect()
            assert sum(isinstance(each, Connection) for each in gc.get_objects()) == 1
            assert site.listener._context.unfinished.bytes == 0

    run(scenario)


# --- flooding ---------------------------------------------------------------------------------

FLOODS = {
    "pings": frame(PING) * 500,
    "large-pings": frame(PING, b"x" * 125) * 100,
    "unasked-pongs": frame(PONG, b"x") * 500,
    "tiny-texts": frame(TEXT, b"x") * 500,
    "empty-texts": frame(TEXT) * 500,
    "tiny-binaries": frame(BINARY, b"x") * 500,
    "tiny-fragments-without-end": frame(CONT, b"x", fin=False) * 500,
    "empty-fragments-without-end": frame(CONT, fin=False) * 500,
    "messages-of-empty-fragments": (
        frame(TEXT, fin=False) + frame(CONT, fin=False) * 500 + frame(CONT)
    ),
    "pings-between-fragments": frame(CONT, fin=False) + frame(PING) * 100,
}
BEGUN = {"tiny-fragments-without-end", "empty-fragments-without-end", "pings-between-fragments"}
"""They go on with a message; the others are whole."""


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_while_others_are_served(run: RunLoop, name: str, memory: None) -> None:
    async def flood(raw: RawSocket) -> None:
        if name in BEGUN:
            raw.send(frame(TEXT, fin=False))
        with contextlib.suppress(ConnectionError):
            while True:
                raw.send(FLOODS[name])
                await raw.writer.drain()
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with serve(messages_per_second_max=10) as site:
            honest = await identified(site)
            site.peers[0].connection.mark_identified(1_000_000)
            raw = await identified(site)
            flooder = site.peers[1]
            before = held_bytes()
            flooding = asyncio.ensure_future(flood(raw))
            await check_served(honest)
            await until(lambda: flooder.closed == 1)
            flooding.cancel()
            assert held_bytes() - before < 8 << 20
            opcodes = set()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    opcode, payload = await raw.frame()
                    opcodes.add(opcode)
                    if opcode == CLOSE:
                        assert payload[:2] == (1008).to_bytes(2, "big")
            assert opcodes <= {TEXT, PING, PONG, CLOSE}
            assert len(flooder.texts) + len(flooder.binaries) <= 100
            await check_served(honest)

    run(scenario)
