"""The bound of what has been begun: which holder it hits, and what that holder is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import Config, LimitSettings
from scheduler.gateway.unfinished import Unfinished
from tests.gateway.conftest import MakeWorld
from tests.gateway.sockets import CLOSE, LOOPS, PING, PONG, TEXT, frame, run_on, serve, until

CONT = 0


class Begun:
    def __init__(self) -> None:
        self.given_up = 0

    def give_up(self) -> None:
        self.given_up += 1


def test_the_longest_unfinished_is_given_up_first() -> None:
    unfinished = Unfinished(100)
    first, second, third = Begun(), Begun(), Begun()
    unfinished.hold(first, 10)
    unfinished.hold(second, 40)
    unfinished.hold(first, 50)
    assert [unfinished.bytes, len(unfinished)] == [90, 2]
    unfinished.hold(third, 20)
    assert [first.given_up, second.given_up, third.given_up] == [1, 0, 0]
    assert [unfinished.bytes, len(unfinished)] == [60, 2]


def test_what_ends_and_begins_again_is_new() -> None:
    unfinished = Unfinished(100)
    first, second = Begun(), Begun()
    unfinished.hold(first, 60)
    unfinished.hold(second, 30)
    unfinished.hold(first, 0)
    unfinished.hold(first, 80)
    assert [first.given_up, second.given_up] == [0, 1]


def test_a_holder_may_be_given_up_for_its_own_bytes() -> None:
    unfinished = Unfinished(100)
    holder = Begun()
    unfinished.hold(holder, 101)
    assert [holder.given_up, unfinished.bytes, len(unfinished)] == [1, 0, 0]


def test_nothing_ends_twice() -> None:
    unfinished = Unfinished(100)
    holder = Begun()
    unfinished.hold(holder, 0)
    unfinished.hold(holder, 5)
    unfinished.hold(holder, 0)
    unfinished.hold(holder, 0)
    assert [holder.given_up, unfinished.bytes, len(unfinished)] == [0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 120))))
def test_the_sum_is_that_of_the_holders_and_within_the_bound(steps: list[tuple[int, int]]) -> None:
    unfinished = Unfinished(100)
    holders = [Begun() for _ in range(6)]
    held: dict[int, int] = {}
    for index, size in steps:
        before = [holder.given_up for holder in holders]
        unfinished.hold(holders[index], size)
        held[index] = size
        for other, holder in enumerate(holders):
            if holder.given_up > before[other]:
                del held[other]
        assert unfinished.bytes == sum(held.values()) <= 100
        assert len(unfinished) == len([size for size in held.values() if size])


# --- messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_who_leaves_messages_unfinished_is_closed_and_others_are_served(loop: str) -> None:
    room = 1 << 20

    async def scenario() -> None:
        async with serve(unfinished_bytes_max=room, message_bytes_max=room) as site:
            honest = await site.raw_websocket()
            idlers = [await site.raw_websocket() for _ in range(8)]
            for count, idler in enumerate(idlers, 1):
                # Fragments, so that pings between them can be answered for ever.
                idler.send(frame(TEXT, b"x" * 200_000, fin=False) + frame(PING))
                if count <= 5:
                    assert await idler.frame() == (PONG, b"")
            for given_up in idlers[:3]:
                opcode, payload = await given_up.frame()
                error = json.loads(payload)
                assert (opcode, error["code"]) == (TEXT, "SERVER_BUSY")
                assert error["details"]["retry_after_ms"] > 0
                assert await given_up.close_code() == 1013
            honest.send(frame(TEXT, b"hello"))
            assert await honest.frame() == (TEXT, b"hello")
            idlers[-1].send(frame(CONT, b"end"))
            while (answer := await idlers[-1].frame()) == (PONG, b""):
                pass
            assert answer == (TEXT, b"x" * 200_000 + b"end"), "the newest can still be ended"
            assert site.counters["unfinished_given_up_total"] == 3
            assert site.refusals == ["SERVER_BUSY"] * 3
            assert site.listener._context.unfinished.bytes == 4 * 200_000

    run_on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_half_a_frame_counts_and_what_is_gone_counts_no_more(loop: str) -> None:
    async def scenario() -> None:
        async with serve() as site:
            unfinished = site.listener._context.unfinished
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"x" * 100_000)[:-1])
            # All but the head, which was read, and the last byte.
            await until(lambda: unfinished.bytes >= 99_999)
            await raw.close()
            await until(lambda: len(unfinished) == 0)
            ended = await site.raw_websocket()
            ended.send(frame(TEXT, b"x" * 100_000))
            assert (await ended.frame())[0] == TEXT
            assert unfinished.bytes == 0

    run_on(loop, scenario)


def test_who_is_being_closed_anyway_is_cut() -> None:
    async def scenario() -> None:
        async with serve(
            unfinished_bytes_max=150_000, message_bytes_max=140_000, close_timeout_seconds=60
        ) as site:
            first, second = await site.raw_websocket(), await site.raw_websocket()
            site.peers[0].connection.close(1000, "")
            first.send(frame(TEXT, b"x" * 100_000, fin=False) + frame(PING))
            assert (await first.frame())[0] == CLOSE
            assert await first.frame() == (PONG, b"")
            second.send(frame(TEXT, b"x" * 100_000, fin=False) + frame(PING))
            assert await second.frame() == (PONG, b"")
            await until(lambda: len(site.listener) == 1)

    run_on("uvloop", scenario)


# --- utterances -------------------------------------------------------------------------------


def test_the_longest_utterance_is_dropped_and_its_session_goes_on(make_world: MakeWorld) -> None:
    room = 10_000
    world = make_world(
        Config(limits=LimitSettings(unfinished_bytes_max=room, utterance_bytes_max=room))
    )
    node = world.node()
    first, second = world.session(), world.session()
    assert first.session_id
    assert second.session_id
    first.peer.on_binary(b"x" * 6_000)
    second.peer.on_binary(b"y" * 4_000)
    second.peer.on_binary(b"y")
    [error] = first.heard()
    assert error["code"] == "SERVER_BUSY"
    assert error["details"]["retry_after_ms"] >= 500
    assert second.heard() == []
    assert world.count("unfinished_given_up_total") == 1
    first.peer.on_binary(b"the rest of it")
    first.say(type="audio_chunk", seq=0, is_final=True)
    second.say(type="audio_chunk", seq=0, is_final=True)
    first.peer.on_binary(b"new")
    first.say(type="audio_chunk", seq=0, is_final=True)
    world.settle()
    assert [job["session_id"] for job in node.jobs()] == [second.session_id, first.session_id]
    assert world.contexts[0].unfinished.bytes == 0


def test_a_session_that_ends_lets_its_utterance_go(make_world: MakeWorld) -> None:
    world = make_world()
    session = world.session()
    session.peer.on_binary(b"x" * 6_000)
    assert world.contexts[0].unfinished.bytes == 6_000
    session.hang_up()
    assert world.contexts[0].unfinished.bytes == 0
