import numpy as np
import pytest

from native_bench.verdicts import Comparison, Verdict, median_interval

STEADY = [100.0, 104.0, 97.0, 103.0, 101.0]


def verdict(before: list[float], after: list[float]) -> Verdict:
    return Comparison("one", before, after).verdict


def test_a_planted_regression_is_found() -> None:
    assert verdict(STEADY, [1.5 * time for time in reversed(STEADY)]) == Verdict.REGRESSION


def test_a_planted_improvement_is_found() -> None:
    assert verdict([1.5 * time for time in reversed(STEADY)], STEADY) == Verdict.IMPROVEMENT


def test_a_machine_that_becomes_slow_hides_nothing_and_plants_nothing() -> None:
    slow = [1, 1, 2, 4, 4]
    before = [time * factor for time, factor in zip(STEADY, slow, strict=True)]
    after = [time * factor for time, factor in zip(reversed(STEADY), slow, strict=True)]
    assert verdict(before, after) == Verdict.SAME
    assert verdict(before, [1.5 * time for time in after]) == Verdict.REGRESSION


@pytest.mark.parametrize(
    "after",
    [
        [103.0, 99.0, 101.0, 98.0, 105.0],
        [103.0, 99.0, 900.0, 98.0, 105.0],  # a round with bad luck
        [140.0, 99.0, 150.0, 160.0, 90.0],  # slower in the middle, but not each time
        [109.0, 110.0, 108.0, 109.0, 108.0],  # slower each time, but by little
    ],
)
def test_noise_is_no_regression(after: list[float]) -> None:
    assert verdict(STEADY, after) == Verdict.SAME


def test_noise_is_hardly_ever_flagged_and_half_as_much_again_nearly_always() -> None:
    random = np.random.default_rng(1)
    found = []
    for factor in (1.0, 1.5):
        draws = [random.lognormal(0, 0.08, (2, 5)) for _ in range(1_000)]
        verdicts = [verdict([*before], [*(factor * after)]) for before, after in draws]
        found.append(verdicts.count(Verdict.REGRESSION))
    assert found[0] <= 20
    assert found[1] >= 980


@pytest.mark.parametrize(
    ("rounds", "low", "high", "coverage"),
    [(1, 1, 1, 0), (3, 1, 3, 0.75), (5, 1, 5, 0.9375), (8, 2, 7, 0.9297), (11, 3, 9, 0.9346)],
)
def test_the_interval_takes_as_many_rounds_as_it_must(
    rounds: int, low: float, high: float, coverage: float
) -> None:
    interval = median_interval(range(rounds, 0, -1))
    assert (interval.low, interval.high) == (low, high)
    assert interval.coverage == pytest.approx(coverage, abs=1e-4)


@pytest.mark.parametrize("rounds", [5, 8, 11])
def test_the_interval_has_the_median_as_often_as_it_says(rounds: int) -> None:
    random = np.random.default_rng(2)
    intervals = [median_interval([*random.lognormal(0, 1, rounds)]) for _ in range(4_000)]
    held = sum(interval.low <= 1 <= interval.high for interval in intervals) / len(intervals)
    assert held == pytest.approx(intervals[0].coverage, abs=0.015)
