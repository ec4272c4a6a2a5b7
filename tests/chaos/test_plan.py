from collections import Counter
from typing import Any, cast

import pytest

from tests.chaos.injector import Injector
from tests.chaos.plan import KINDS, Fault, Needs, left_out, make_plan, names

HOUR = 3600.0
NEEDS: frozenset[Needs] = frozenset({"namespace", "disk", "clock"})


def plan(seed: int = 1, **options: Any) -> list[Fault]:
    return make_plan(seed, HOUR, **{"per_minute": 45.0, **options})


def test_a_seed_gives_one_plan() -> None:
    assert plan() == plan()
    assert plan() != plan(2)


def test_what_the_machine_cannot_do_changes_nothing_else() -> None:
    lesser = [fault for fault in plan() if fault.kind not in left_out(NEEDS)]
    without = plan(without=NEEDS)
    assert [(f.at_seconds, f.kind, f.pick) for f in without] == [
        (f.at_seconds, f.kind, f.pick) for f in lesser
    ]


def test_a_long_plan_has_every_kind_in_every_way() -> None:
    drawn = {(fault.kind, fault.way) for fault in plan()}
    assert drawn == {(kind.name, way) for kind in KINDS for way in kind.ways}


def test_there_are_over_twenty_kills_a_minute() -> None:
    times = Counter(fault.kind for fault in plan())
    single = times["kill gateway"] + times["kill dispatcher"] + times["kill stats"]
    assert single + 2 * times["kill twice"] + 4 * times["kill all"] > 20 * 60


def test_faults_lie_inside_the_run_and_their_bounds() -> None:
    bounds = {kind.name: kind.seconds for kind in KINDS}
    faults = plan()
    assert [fault.at_seconds for fault in faults] == sorted(fault.at_seconds for fault in faults)
    for fault in faults:
        low, high = bounds[fault.kind]
        assert 0 < fault.at_seconds < HOUR
        assert low <= fault.seconds <= high
        assert 0 <= fault.pick < 1


def test_kinds_can_be_restricted() -> None:
    only = frozenset({"kill all", "SIGHUP"})
    assert {fault.kind for fault in plan(only=only)} == only


@pytest.mark.parametrize("name", names())
def test_every_kind_can_be_carried_out(name: str) -> None:
    nothing = cast(Any, None)
    assert name in Injector(nothing, nothing, nothing, nothing).kinds
