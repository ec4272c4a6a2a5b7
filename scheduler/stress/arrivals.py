"""When jobs are due: planned before the run, whatever comes back (open loop).

A generator that waits for replies slows down together with what it measures, and so misses the
jobs that would have had to wait ("coordinated omission"). Here each job has a planned time, and
its latency counts from that.
"""

import random
from collections.abc import Iterator

from msgspec import Struct

from scheduler.stress.scenario import Burst, Kind, Load, Ramp, shares


class Level(Struct, frozen=True):
    """A stretch of the run with one rate, jobs per second; seconds from its begin."""

    from_s: float
    until_s: float
    rate: float


def levels(load: Load, seconds: float) -> list[Level]:
    """Return the stretches of a run, one after the other, that cover it without a gap."""
    if isinstance(load, Ramp):
        step_s = seconds / load.steps
        rise = (load.rate_max - load.rate) / (load.steps - 1)
        return [
            Level(
                step * step_s,
                seconds if step == load.steps - 1 else (step + 1) * step_s,
                load.rate + step * rise,
            )
            for step in range(load.steps)
        ]
    if isinstance(load, Burst):
        return _bursts(load, seconds)
    return [Level(0.0, seconds, load.rate)]


def _bursts(load: Burst, seconds: float) -> list[Level]:
    """Each round is quiet first, then bursts."""
    found = []
    quiet_s = load.every_seconds - load.burst_seconds
    number = 0
    while (begin_s := number * load.every_seconds) < seconds:
        middle_s = min(begin_s + quiet_s, seconds)
        # Not begin_s + every_seconds, which may be another number than the next begin.
        end_s = min((number + 1) * load.every_seconds, seconds)
        found.append(Level(begin_s, middle_s, load.rate))
        if end_s > middle_s:
            found.append(Level(middle_s, end_s, load.rate_max))
        number += 1
    return found


def arrivals(plan: list[Level], seed: str, share: float = 1.0) -> Iterator[float]:
    """Yield when jobs are due, in seconds from the begin, in order: `share` of the plan's rates.

    At random (Poisson), as from many who don't know each other: several generators with a share
    each make together what one would make alone.
    """
    draw = random.Random(f"{seed}/arrivals")  # noqa: S311 - a simulation
    for level in plan:
        # The process has no memory: at a new rate it may begin anew.
        at_s = level.from_s
        while (at_s := at_s + draw.expovariate(level.rate * share)) < level.until_s:
            yield at_s


class Turns:
    """Which session says the next utterance: kinds by their weight, sessions of a kind in turns."""

    def __init__(self, kinds: list[Kind], sessions: int, seed: str) -> None:
        """Divide `sessions` among the kinds by weight, at least one each."""
        self.counts = shares(sessions, [kind.weight for kind in kinds])
        self._first = [sum(self.counts[:number]) for number in range(len(kinds))]
        self._weights = [kind.weight for kind in kinds]
        self._next = [0] * len(kinds)
        self._numbers = list(range(len(kinds)))
        self._draw = random.Random(f"{seed}/turns")  # noqa: S311 - a simulation

    def kind_of(self, session: int) -> int:
        """Return the kind that a session speaks."""
        return max(number for number in self._numbers if self._first[number] <= session)

    def take(self) -> int:
        """Return the session whose turn it is."""
        kind = self._draw.choices(self._numbers, self._weights)[0]
        turn = self._next[kind]
        self._next[kind] = (turn + 1) % self.counts[kind]
        return self._first[kind] + turn
