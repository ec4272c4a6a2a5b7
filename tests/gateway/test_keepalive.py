"""The wheel of pings, on a loop whose clock the test turns."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest

from scheduler.gateway.keepalive import Keepalive


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandTurnedLoop:
    """What the wheel uses of a loop: one timer at a time."""

    def __init__(self) -> None:
        self.due: tuple[float, Callable[[], None], Timer] | None = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        assert not self.is_running()
        self.due = (seconds, callback, Timer())
        return self.due[2]

    def is_running(self) -> bool:
        return self.due is not None and not self.due[2].cancelled

    def turn(self) -> float:
        assert self.due is not None
        assert self.is_running()
        seconds, callback, _ = self.due
        self.due = None
        callback()
        return seconds


class Member:
    def __init__(self, *, answers: bool = True) -> None:
        self.keepalive_slot = -1
        self.awaited_pong = -1
        self.answers = answers
        self.pings: list[int] = []
        self.timed_out = 0
        self.wheel: Keepalive | None = None

    def ping(self, tick: int) -> None:
        self.pings.append(tick)
        if not self.answers:
            self.awaited_pong = tick

    def ping_timed_out(self) -> None:
        self.timed_out += 1
        assert self.wheel is not None
        self.wheel.remove(self)


def make_wheel(interval: float, timeout: float) -> tuple[Keepalive, HandTurnedLoop]:
    loop = HandTurnedLoop()
    wheel = Keepalive(cast(asyncio.AbstractEventLoop, cast(Any, loop)), interval, timeout)
    return wheel, loop


def test_each_is_pinged_once_an_interval() -> None:
    wheel, loop = make_wheel(20, 20)
    members = [Member() for _ in range(30)]
    for member in members:
        wheel.add(member)
    passed = sum(loop.turn() for _ in range(60))
    assert passed == 60
    for member in members:
        assert len(member.pings) == 3
        assert {b - a for a, b in pairwise(member.pings)} == {20}


def test_pings_are_spread_evenly() -> None:
    wheel, loop = make_wheel(20, 20)
    members = [Member() for _ in range(200)]
    for member in members:
        wheel.add(member)
    for _ in range(20):
        before = sum(len(member.pings) for member in members)
        loop.turn()
        assert sum(len(member.pings) for member in members) - before == 10


@pytest.mark.parametrize(("interval", "timeout"), [(20, 20), (20, 5), (5, 20), (7, 33)])
def test_the_silent_are_told_after_the_timeout(interval: int, timeout: int) -> None:
    wheel, loop = make_wheel(interval, timeout)
    silent = [Member(answers=False) for _ in range(interval + 1)]
    lively = Member()
    for member in (*silent, lively):
        member.wheel = wheel
        wheel.add(member)
    ended: dict[int, int] = {}
    for tick in range(1, interval + timeout + 2):
        loop.turn()
        for index, member in enumerate(silent):
            if member.timed_out and index not in ended:
                ended[index] = tick
    assert [ended[index] - member.pings[0] for index, member in enumerate(silent)] == [
        timeout
    ] * len(silent)
    assert all(member.timed_out == len(member.pings) == 1 for member in silent)
    assert lively.timed_out == 0
    assert len(wheel) == 1


def test_short_intervals_have_shorter_ticks() -> None:
    wheel, loop = make_wheel(0.4, 2)
    wheel.add(Member())
    assert loop.turn() == pytest.approx(0.1)


def test_the_timer_runs_only_while_there_are_members() -> None:
    wheel, loop = make_wheel(20, 20)
    assert not loop.is_running()
    members = [Member(), Member()]
    for member in members:
        wheel.add(member)
    loop.turn()
    wheel.remove(members[0])
    wheel.remove(members[0])
    assert loop.is_running()
    wheel.remove(members[1])
    assert not loop.is_running()
    wheel.add(members[0])
    assert loop.is_running()
