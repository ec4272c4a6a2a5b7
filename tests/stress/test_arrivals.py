from itertools import pairwise
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from scheduler.stress.arrivals import Level, Turns, arrivals, levels
from scheduler.stress.scenario import Burst, Kind, Load, Ramp, Steady

RATES = st.floats(1, 500)
LOADS: st.SearchStrategy[Load] = st.one_of(
    st.builds(Steady, rate=RATES),
    st.builds(Ramp, rate=RATES, rate_max=RATES, steps=st.integers(2, 20)),
    st.builds(
        Burst,
        rate=RATES,
        rate_max=RATES,
        every_seconds=st.floats(1, 20),
        burst_seconds=st.floats(0.1, 0.9),
    ),
)


@given(load=LOADS, seconds=st.floats(1, 60))
def test_levels_cover_the_run_without_a_gap(load: Load, seconds: float) -> None:
    plan = levels(load, seconds)
    assert plan[0].from_s == 0
    assert plan[-1].until_s == seconds
    for before, after in pairwise(plan):
        assert before.until_s == after.from_s
    assert all(level.from_s < level.until_s for level in plan)
    assert max(level.rate for level in plan) <= max(load.rate, load.highest) * 1.000001


def test_a_ramp_begins_and_ends_with_its_rates() -> None:
    plan = levels(Ramp(rate=10, rate_max=50, steps=5), 10)
    assert [level.rate for level in plan] == [10, 20, 30, 40, 50]


def test_a_round_is_quiet_and_then_bursts() -> None:
    load = Burst(rate=1, rate_max=9, every_seconds=5, burst_seconds=2)
    assert levels(load, 9) == [Level(0, 3, 1), Level(3, 5, 9), Level(5, 8, 1), Level(8, 9, 9)]


@given(load=LOADS, seconds=st.floats(1, 20), seed=st.text(max_size=5))
def test_arrivals_are_in_order_inside_the_run_and_the_same_again(
    load: Load, seconds: float, seed: str
) -> None:
    plan = levels(load, seconds)
    due = list(arrivals(plan, seed))
    assert due == sorted(due)
    assert all(0 <= at_s < seconds for at_s in due)
    assert due == list(arrivals(plan, seed))


@given(rate=st.floats(20, 500), seed=st.integers(0, 2**32), share=st.floats(0.1, 1))
def test_as_many_arrive_as_the_rate_says(rate: float, seed: int, share: float) -> None:
    seconds = 20
    expected = rate * share * seconds
    count = sum(1 for _ in arrivals([Level(0, seconds, rate)], str(seed), share))
    assert abs(count - expected) < 8 * sqrt(expected)  # a Poisson count strays by its root


@given(sessions=st.integers(3, 50), seed=st.text(max_size=5))
def test_turns_go_round_the_sessions_of_a_kind(sessions: int, seed: str) -> None:
    kinds = [Kind(name="a", weight=5), Kind(name="b", weight=1), Kind(name="c", weight=3)]
    turns = Turns(kinds, sessions, seed)
    assert sum(turns.counts) == sessions
    assert [turns.kind_of(number) for number in range(sessions)] == [
        kind for kind, count in enumerate(turns.counts) for _ in range(count)
    ]
    taken: dict[int, list[int]] = {}
    for _ in range(200):
        session = turns.take()
        taken.setdefault(turns.kind_of(session), []).append(session)
    for kind, order in taken.items():
        first = sum(turns.counts[:kind])
        assert order == [first + turn % turns.counts[kind] for turn in range(len(order))]


def test_kinds_are_drawn_by_weight() -> None:
    turns = Turns([Kind(name="a", weight=9), Kind(name="b", weight=1)], 10, "x")
    seldom = sum(turns.kind_of(turns.take()) for _ in range(10_000))
    assert 800 < seldom < 1_200
