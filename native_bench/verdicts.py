"""Whether a benchmark became slower: what its figures before and after a change come to.

Rounds are pairs: before and after were measured one right after the other, so that what the
machine does meanwhile, over minutes, falls on both. The interval rests on the order of the pairs'
ratios alone (that of the sign test): it is exact whatever their distribution is, also with five of
them, where a bootstrap's would be too narrow.
"""

import statistics
from collections.abc import Sequence
from enum import StrEnum
from math import comb

from msgspec import Struct

RATIO_MAX = 1.10
"""A smaller change isn't worth a look: Python moves by as much from one build to the next."""

_COVERAGE_MIN = 0.90


class Verdict(StrEnum):
    """What is to be said of a benchmark."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    SAME = "same"


class Interval(Struct, frozen=True):
    """Where the true median lies, with this probability."""

    low: float
    high: float
    coverage: float


class Comparison(Struct, frozen=True):
    """A benchmark's medians, round by round: of the revision, and of the working tree."""

    name: str
    before_ns: Sequence[float]
    after_ns: Sequence[float]

    @property
    def median_before_ns(self) -> float:
        """Over rounds."""
        return statistics.median(self.before_ns)

    @property
    def median_after_ns(self) -> float:
        """Over rounds."""
        return statistics.median(self.after_ns)

    @property
    def ratio(self) -> float:
        """The median after by the median before: above 1 it became slower."""
        return self.median_after_ns / self.median_before_ns

    @property
    def interval(self) -> Interval:
        """Of the ratio, by the rounds."""
        pairs = zip(self.before_ns, self.after_ns, strict=True)
        return median_interval([after / before for before, after in pairs])

    @property
    def verdict(self) -> Verdict:
        """By the ratio, where the interval says that it isn't noise."""
        interval = self.interval
        if self.ratio > RATIO_MAX and interval.low > 1:
            return Verdict.REGRESSION
        if self.ratio < 1 / RATIO_MAX and interval.high < 1:
            return Verdict.IMPROVEMENT
        return Verdict.SAME


def median_interval(values: Sequence[float]) -> Interval:
    """Return the narrowest interval between two of the values that has the median with 90 %.

    Fewer than five values can't say that: then it is the widest.
    """
    ordered = sorted(values)
    cut = 0
    while cut + 1 < len(ordered) / 2 and _coverage(len(ordered), cut + 1) >= _COVERAGE_MIN:
        cut += 1
    return Interval(ordered[cut], ordered[-1 - cut], _coverage(len(ordered), cut))


def _coverage(count: int, cut: int) -> float:
    """Return how likely the median lies between the values left, `cut` less at each end."""
    beyond: int = sum(comb(count, below) for below in range(cut + 1))
    return float(max(0.0, 1 - 2 * beyond / 2**count))
