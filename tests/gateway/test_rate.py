"""The token bucket of one connection."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from scheduler.gateway.rate import FLOOD_SECONDS, MessageRate


def test_a_burst_of_two_seconds_worth_passes_then_the_rate() -> None:
    rate = MessageRate(10, 100.0)
    assert [rate.take(100.0) for _ in range(21)] == [True] * 20 + [False]
    assert [rate.take(100.5) for _ in range(6)] == [True] * 5 + [False]


def test_a_rest_earns_no_more_than_the_burst() -> None:
    rate = MessageRate(10, 0.0)
    assert sum(rate.take(1_000.0) for _ in range(50)) == 20


def test_a_dear_message_needs_its_cost() -> None:
    rate = MessageRate(10, 0.0)
    assert rate.take(0.0, 18)
    assert not rate.take(0.0, 3)
    assert rate.take(0.0, 2)
    assert not rate.take(0.0)


@given(
    st.integers(1, 1_000),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), max_size=200),
)
def test_never_more_than_burst_and_rate(per_second: int, steps: list[tuple[float, int]]) -> None:
    rate = MessageRate(per_second, 0.0)
    now, passed = 0.0, 0
    for wait, cost in steps:
        now += wait
        passed += cost * rate.take(now, cost)
        assert passed <= 2 * per_second + per_second * now + 1e-6 * (1 + passed)


def test_one_is_told_once_a_second() -> None:
    rate = MessageRate(10, 0.0)
    assert [rate.may_tell(at) for at in (0.0, 0.5, 0.99, 1.0, 1.5, 2.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_ten_seconds_over_the_rate_are_a_flood() -> None:
    rate = MessageRate(10, 0.0)
    began = None
    for step in itertools.count():
        now = step / 12
        if not rate.take(now) and began is None:
            began = now
        if rate.is_flood:
            break
    assert began is not None
    assert FLOOD_SECONDS < now - began < FLOOD_SECONDS + 1


def test_ten_seconds_worth_at_once_are_a_flood() -> None:
    rate = MessageRate(10, 0.0)
    taken = 0
    while not rate.is_flood:
        rate.take(0.0)
        taken += 1
    assert taken == 20 + FLOOD_SECONDS * 10 + 1


def test_dear_messages_are_a_flood_sooner() -> None:
    rate = MessageRate(10, 0.0)
    taken = 0
    while not rate.is_flood:
        rate.take(0.0, 8)
        taken += 1
    assert taken == 2 + FLOOD_SECONDS * 10 // 8 + 1


def test_a_second_within_the_rate_is_forgiven() -> None:
    rate = MessageRate(1, 0.0)
    for start in range(0, 300, 3):
        for _ in range(5):
            rate.take(float(start))
        assert not rate.is_flood
