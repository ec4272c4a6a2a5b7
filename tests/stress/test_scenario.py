from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.protocol.session import Features
from scheduler.stress.scenario import (
    Burst,
    Kind,
    NodeGroup,
    Overrides,
    Ramp,
    Scenario,
    Steady,
    Talkers,
    features_of,
    overridden,
    problems,
    shares,
)
from tests.stress.samples import steady

WEIGHTS = st.lists(st.floats(0.01, 1000), min_size=1, max_size=20)


@given(total=st.integers(0, 10_000), weights=WEIGHTS)
def test_shares_add_up_and_follow_the_weights(total: int, weights: list[float]) -> None:
    counts = shares(total, weights)
    assert sum(counts) == total
    assert min(counts) >= (1 if total >= len(weights) else 0)
    order = sorted(range(len(weights)), key=lambda i: weights[i])
    for lighter, heavier in pairwise(order):
        assert counts[lighter] <= counts[heavier] + 1


def test_nothing_to_share_among_is_no_share() -> None:
    assert shares(5, []) == []


def test_overrides_win_and_the_rest_stays() -> None:
    scenario = steady(seconds=100.0, warmup_seconds=5.0, sessions=10)
    changed = overridden(scenario, Overrides(seconds=20, sessions=50, seed=7, rate=40))
    assert (changed.seconds, changed.sessions, changed.seed) == (20, 50, 7)
    assert changed.load == Steady(rate=40)
    assert changed.warmup_seconds == 2
    assert overridden(scenario, Overrides()) == scenario


@pytest.mark.parametrize(
    ("load", "scaled"),
    [
        (Ramp(rate=10, rate_max=100), Ramp(rate=5, rate_max=50)),
        (
            Burst(rate=20, rate_max=100, every_seconds=5, burst_seconds=1),
            Burst(rate=10, rate_max=50, every_seconds=5, burst_seconds=1),
        ),
    ],
)
def test_the_rate_asked_for_is_the_highest(load: Ramp | Burst, scaled: Ramp | Burst) -> None:
    assert overridden(steady(load=load), Overrides(rate=50)).load == scaled


def test_nodes_asked_for_are_divided_among_the_groups() -> None:
    groups = [NodeGroup(name="a", count=30), NodeGroup(name="b", count=10)]
    scenario = steady(nodes=groups)
    assert [g.count for g in overridden(scenario, Overrides(nodes=8)).nodes] == [6, 2]
    assert overridden(scenario, Overrides(nodes=0)).nodes == []


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        (steady(seconds=2.0, warmup_seconds=2.0), "warmup_seconds = 2 leaves nothing"),
        (
            steady(sessions=3, drivers=2, kinds=[Kind(name="a"), Kind(name="b")]),
            "use at least 4",
        ),
        (steady(drivers=2, talkers=Talkers(sessions=1)), "talkers.sessions must be at least"),
        (steady(load=Ramp(rate=9, rate_max=9)), "load.rate_max = 9 must be greater than"),
        (
            steady(load=Burst(rate=1, rate_max=2, every_seconds=3, burst_seconds=3)),
            "load.burst_seconds = 3 must be less than",
        ),
        (steady(kinds=[Kind(name="a"), Kind(name="a")]), "kinds has 'a' twice"),
        (
            steady(nodes=[NodeGroup(count=1), NodeGroup(count=2)]),
            "nodes has 'node' twice",
        ),
        (
            steady(nodes=[NodeGroup(count=1, delay_ms=(9, 3))]),
            "must be the least and then the greatest",
        ),
    ],
)
def test_a_contradiction_says_what_to_change(scenario: Scenario, problem: str) -> None:
    [found] = problems(scenario)
    assert problem in found


def test_a_sound_scenario_has_no_problem() -> None:
    assert problems(steady()) == []


def test_features_are_those_of_the_kind() -> None:
    assert features_of(Kind(name="a")) is None
    kind = Kind(name="a", features=("emotion_detection",))
    assert features_of(kind) == Features(emotion_detection=True)
