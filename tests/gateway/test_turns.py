"""Who waits for a turn: in order, and with turns of the loop for all others in between."""

import asyncio
import json
from typing import Any

import pytest

from scheduler.gateway.connection import FIRST_MESSAGE_BYTES_MAX, STRANGERS_TURN_BYTES
from scheduler.gateway.turns import Turns
from tests.gateway.sockets import (
    BINARY,
    LOOPS,
    TEXT,
    FakeLife,
    RecordingPeer,
    Site,
    Stranger,
    frame,
    run_on,
    serve,
    until,
)

pytestmark = pytest.mark.parametrize("loop", LOOPS)

LONG = b"x" * (STRANGERS_TURN_BYTES + 1)
PEERS = 8


class Clock:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.turns = 0
        self._task = asyncio.ensure_future(self._count())

    async def _count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._task.cancel()


@pytest.fixture
def one_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway.turns.TURN_NS_MAX", -1)


def turns_of_messages(loop: str, message: bytes, peer: type[RecordingPeer]) -> list[int]:
    """Return in which turns messages are taken whose last bytes all peers sent in one."""

    async def scenario() -> None:
        async with serve(peer=peer) as site:
            clock = Clock()
            raws = [await site.raw_websocket() for _ in range(PEERS)]
            await until(lambda: len(site.peers) == PEERS)
            for recording in site.peers:
                recording.answer = lambda _: taken.append(clock.turns)
            whole = frame(TEXT, message)
            for raw in raws:
                raw.send(whole[:-1])
            await until(lambda: site.counters["bytes_received_total"] > PEERS * len(message))
            await until(lambda: not site.listener._context.turns)
            for raw in raws:
                raw.send(whole[-1:])
            await until(lambda: len(taken) == PEERS)
            clock.stop()

    taken: list[int] = []
    run_on(loop, scenario)
    return taken


@pytest.mark.usefixtures("one_a_turn")
def test_long_messages_of_strangers_are_taken_one_a_turn(loop: str) -> None:
    taken = turns_of_messages(loop, LONG, Stranger)
    assert len(set(taken)) == PEERS


@pytest.mark.usefixtures("one_a_turn")
def test_so_are_the_very_long_of_others(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway.connection.TURN_BYTES", len(LONG) - 1)
    taken = turns_of_messages(loop, LONG, RecordingPeer)
    assert len(set(taken)) == PEERS


@pytest.mark.usefixtures("one_a_turn")
@pytest.mark.parametrize(("size", "peer"), [(1_000, Stranger), (len(LONG), RecordingPeer)])
def test_no_others_wait(loop: str, size: int, peer: type[RecordingPeer]) -> None:
    assert len(set(turns_of_messages(loop, b"x" * size, peer))) < PEERS


def test_what_follows_a_long_message_stays_behind_it(loop: str) -> None:
    async def scenario() -> None:
        async with serve(peer=Stranger) as site:
            raw = await site.raw_websocket()
            for number in range(20):
                raw.send(frame(BINARY, LONG) + frame(TEXT, b"%d" % number))
            for number in range(20):
                assert await raw.frame() == (TEXT, b"%d" % number)
            assert [len(message) for message in site.peers[0].binaries] == [len(LONG)] * 20

    run_on(loop, scenario)


async def _waiting(site: Site) -> None:
    """Have a peer wait for its turn, which doesn't come."""
    raw = await site.raw_websocket()
    raw.send(frame(TEXT, LONG))
    await until(lambda: len(site.listener._context.turns) == 1)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What waits; nobody takes it but the test."""
    found: list[Any] = []

    class Held(Turns):
        def wait(self, go_on: Any) -> None:
            found.append(go_on)

        def __len__(self) -> int:
            return len(found)

    monkeypatch.setattr("scheduler.gateway.listener.Turns", Held)
    return found


def run_waiting(loop: str, end: Any) -> None:
    async def scenario() -> None:
        async with serve(peer=Stranger) as site:
            await _waiting(site)
            await end(site)

    run_on(loop, scenario)


def test_who_is_gone_before_its_turn_is_not_heard(loop: str, turns: list[Any]) -> None:
    async def end(site: Site) -> None:
        [peer] = site.peers
        held = site.listener._context.unfinished
        assert held.bytes >= len(LONG)
        peer.connection.abort()
        await until(lambda: peer.closed == 1)
        assert held.bytes == 0
        turns[0]()
        assert not peer.texts

    run_waiting(loop, end)


def test_nor_is_who_was_closed(loop: str, turns: list[Any]) -> None:
    async def end(site: Site) -> None:
        [peer] = site.peers
        peer.connection.close(1000, "enough")
        turns[0]()
        assert not peer.texts
        assert await site.raws[0].close_code() == 1000

    run_waiting(loop, end)


def test_nobody_is_pinged_who_waits(loop: str, turns: list[Any]) -> None:
    async def end(site: Site) -> None:
        connection = site.peers[0].connection
        connection.ping(1)
        assert connection.awaited_pong < 0
        turns[0]()
        connection.ping(2)
        assert connection.awaited_pong == 2

    run_waiting(loop, end)


def test_all_that_is_taken_shows_life(loop: str, turns: list[Any]) -> None:
    life = FakeLife(due_ns=0)

    async def scenario() -> None:
        async with serve(peer=Stranger, life=life) as site:
            shown = len(life.shown_ns)
            await _waiting(site)
            assert len(life.shown_ns) > shown
            shown = len(life.shown_ns)
            turns[0]()
            assert len(life.shown_ns) == shown + 1
            life.due_ns = life.shown_ns[-1] + (1 << 60)
            site.raws[0].send(frame(TEXT, b"x"))
            await until(lambda: len(site.peers[0].texts) == 2)
            assert len(life.shown_ns) == shown + 1

    run_on(loop, scenario)


def test_as_many_are_taken_in_a_turn_as_it_has_time_for(loop: str) -> None:
    async def scenario() -> None:
        turns, taken = Turns(asyncio.get_running_loop()), []
        for number in range(3):
            turns.wait(lambda number=number: taken.append(number))  # type: ignore[misc]
        assert not taken
        await until(lambda: not turns)
        assert taken == [0, 1, 2]

    run_on(loop, scenario)


def test_one_that_fails_holds_up_nobody(loop: str) -> None:
    def fail() -> None:
        raise ValueError("a fault of ours")

    async def scenario() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
        turns, taken = Turns(asyncio.get_running_loop()), []
        for go_on in (fail, lambda: taken.append(1), fail, lambda: taken.append(2)):
            turns.wait(go_on)
        await until(lambda: not turns)
        assert taken == [1, 2]
        assert len(told) == 2

    run_on(loop, scenario)


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_first_message_has_a_bound_of_its_own(loop: str, fragmented: bool) -> None:
    size = FIRST_MESSAGE_BYTES_MAX + 1

    async def scenario() -> None:
        async with serve(peer=Stranger) as site:
            raw = await site.raw_websocket()
            if fragmented:
                half = b"x" * (size // 2)
                raw.send(frame(BINARY, half, fin=False) + frame(0, half + b"x"))
            else:
                raw.send(frame(BINARY, b"x" * size)[:20])  # its head is enough
            opcode, payload = await raw.frame()
            error = json.loads(payload)
            assert (opcode, error["code"]) == (TEXT, "MESSAGE_TOO_LARGE")
            assert str(FIRST_MESSAGE_BYTES_MAX) in error["message"]
            assert "first" in error["message"]
            assert site.refusals == ["MESSAGE_TOO_LARGE"]
            assert await raw.close_code() == 1009
            assert not site.peers[0].binaries

    run_on(loop, scenario)


def test_it_may_be_as_long_as_that_and_others_longer(loop: str) -> None:
    async def admit(site: Site) -> None:
        await until(lambda: len(site.peers[0].binaries) == 1)
        site.peers[0].connection.mark_admitted()

    async def scenario() -> None:
        async with serve(peer=Stranger) as site:
            raw = await site.raw_websocket()
            await site.peer()
            raw.send(frame(BINARY, b"x" * FIRST_MESSAGE_BYTES_MAX))
            await admit(site)
            raw.send(frame(BINARY, b"x" * (FIRST_MESSAGE_BYTES_MAX + 1)))
            raw.send(frame(BINARY, b"x" * FIRST_MESSAGE_BYTES_MAX, fin=False) + frame(0, b"x"))
            await until(lambda: len(site.peers[0].binaries) == 3)

    run_on(loop, scenario)
