"""Which faults come when, drawn from a seed. Pure: the same seed gives the same plan."""

import random
from dataclasses import dataclass
from typing import Literal

Needs = Literal["", "namespace", "disk", "clock"]
"""What the machine must give for a fault: a network namespace, a small file system, a wall clock
that can jump."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `seconds` bound how long one lasts; `ways` are its variants."""

    name: str
    weight: float
    seconds: tuple[float, float] = (0.0, 0.0)
    ways: tuple[str, ...] = ("",)
    needs: Needs = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `pick`, from 0 to below 1, says which of the possible targets it hits."""

    number: int
    at_seconds: float
    kind: str
    way: str
    seconds: float
    pick: float


ROLES = ("gateway", "dispatcher", "stats")

KINDS = (
    Kind("kill gateway", 11),
    Kind("kill dispatcher", 11),
    Kind("kill stats", 4),
    Kind("kill twice", 2, ways=ROLES),  # the successor too, as soon as there is one
    Kind("kill all", 0.8),
    Kind("kill supervisor", 0.7),  # and all with it; the whole is started again
    Kind("stop long", 1.5, ways=ROLES),  # until the supervisor has replaced it
    Kind("stop short", 4, (0.2, 4.0), ROLES),
    Kind("cut sessions", 3, ways=("RST", "FIN")),
    Kind("cut nodes", 3, ways=("RST", "FIN")),
    Kind("half-open link", 1, (1.0, 13.0), ("both ways", "their packets"), "namespace"),
    Kind("slow node", 2, (2.0, 6.0)),
    Kind("mute node", 1.5, (2.0, 5.0)),  # heartbeats, no results
    Kind("silent node", 1, (5.0, 9.0)),  # no heartbeats either
    Kind("node answers twice", 1.5, (2.0, 6.0)),
    Kind("node answers late", 1, (2.0, 5.0)),
    Kind("node answers wrong attempts", 1.5, (2.0, 5.0)),
    Kind("node answers unknown jobs", 1.5, (2.0, 6.0)),
    Kind("node fails jobs", 1, (1.0, 3.0)),
    Kind("flapping node", 1.5, (1.0, 4.0)),
    Kind("storm of MODEL_NOT_AVAILABLE", 1.5, (1.0, 4.0), ("one node", "all nodes")),
    Kind("drain node", 1.5, (1.0, 5.0)),
    Kind("full disk", 0.8, (2.0, 8.0), needs="disk"),
    Kind("model hub", 1, (2.0, 8.0), ("down", "slow", "garbage", "errors")),
    Kind("roll gateways", 0.6),
    Kind("SIGHUP", 1),
    Kind("connection storm", 0.6),
    Kind("clock jump", 1, (1.0, 6.0), ("forth", "back"), "clock"),
)

_BY_NAME = {kind.name: kind for kind in KINDS}


def names() -> list[str]:
    """Return the names of all kinds."""
    return list(_BY_NAME)


def make_plan(
    seed: int,
    seconds: float,
    *,
    per_minute: float,
    without: frozenset[Needs] = frozenset(),
    only: frozenset[str] = frozenset(),
) -> list[Fault]:
    """Return the faults of a run in their order.

    Those that need what is in `without` are left out after they were drawn, so that the rest of
    the plan is the same on each machine. `only` restricts the kinds, all where it is empty.
    """
    draw = random.Random(seed)
    kinds = [kind for kind in KINDS if not only or kind.name in only]
    weights = [kind.weight for kind in kinds]
    plan: list[Fault] = []
    at_seconds = 0.0
    while (at_seconds := at_seconds + draw.expovariate(per_minute / 60)) < seconds:
        [kind] = draw.choices(kinds, weights)
        fault = Fault(
            number=len(plan),
            at_seconds=at_seconds,
            kind=kind.name,
            way=draw.choice(kind.ways),
            seconds=draw.uniform(*kind.seconds),
            pick=draw.random(),
        )
        if kind.needs not in without or not kind.needs:
            plan.append(fault)
    return plan


def left_out(without: frozenset[Needs]) -> list[str]:
    """Return the names of the kinds that need what is in `without`."""
    return [kind.name for kind in KINDS if kind.needs and kind.needs in without]
