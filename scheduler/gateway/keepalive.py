"""Pings to all connections of a gateway, from one timer.

A wheel of slots, one tick of the timer apart; a turn takes `interval_seconds`. A connection is
pinged whenever its slot comes round, and its pong is asked for `timeout_seconds` later. Slots are
given in turn, so that thousands of connections opened at once aren't pinged at once.
"""

import asyncio
from typing import Protocol

TICK_SECONDS_MAX = 1.0
_TICKS_MIN = 4
"""Ticks in the shorter of interval and timeout: how exactly both are kept."""


class Pinged(Protocol):
    """What the wheel needs of a connection."""

    keepalive_slot: int
    """Where the wheel keeps it; -1: nowhere."""

    awaited_pong: int
    """Tick of the ping that is not answered yet; -1: none. Set by `ping`, reset by the pong."""

    def ping(self, tick: int) -> None:
        """Send a ping that carries `tick`."""

    def ping_timed_out(self) -> None:
        """Close: no pong came in time."""


class Keepalive:
    """The wheel. Its timer runs only while there are members, so it needs no closing."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interval_seconds: float, timeout_seconds: float
    ) -> None:
        self._loop = loop
        self._tick_seconds = min(
            TICK_SECONDS_MAX, interval_seconds / _TICKS_MIN, timeout_seconds / _TICKS_MIN
        )
        self._timeout_ticks = round(timeout_seconds / self._tick_seconds)
        slots = round(interval_seconds / self._tick_seconds)
        self._slots: list[set[Pinged]] = [set() for _ in range(slots)]
        self._tick = 0
        self._next_slot = 0
        self._members = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._members

    def add(self, member: Pinged) -> None:
        """Ping `member` from now on; it must not be in the wheel."""
        assert member.keepalive_slot < 0
        member.keepalive_slot = self._next_slot
        self._slots[self._next_slot].add(member)
        self._next_slot = (self._next_slot + 1) % len(self._slots)
        self._members += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_seconds, self._turn)

    def remove(self, member: Pinged) -> None:
        """Forget `member`; harmless when repeated."""
        if member.keepalive_slot < 0:
            return
        self._slots[member.keepalive_slot].remove(member)
        member.keepalive_slot = -1
        self._members -= 1
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        # Ticks are counted, not read off a clock: after a stall of this process, pongs that wait
        # in socket buffers get the time to be read.
        self._timer = self._loop.call_later(self._tick_seconds, self._turn)
        self._tick += 1
        due = self._tick - self._timeout_ticks
        for member in tuple(self._slots[due % len(self._slots)]):
            if 0 <= member.awaited_pong <= due:
                member.ping_timed_out()
        for member in tuple(self._slots[self._tick % len(self._slots)]):
            if member.awaited_pong < 0:
                member.ping(self._tick)
