"""Log-linear latency histograms: eight buckets per power of two.

Values below 1,024 ns share the first bucket; above, bucket boundaries are at most an eighth
apart, so that a percentile is off by at most 12.5 %. The last bucket takes what is longer than
about 30 minutes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import HISTOGRAM_BUCKETS
from scheduler.memory.views import Views

_FIRST_BITS = 10
_FIRST_NS = 1 << _FIRST_BITS
_STEP_BITS = 3
_STEPS = 1 << _STEP_BITS
_LAST = HISTOGRAM_BUCKETS - 1


def bucket_of(value_ns: int) -> int:
    """Return the bucket that counts `value_ns`; negative values go to the first."""
    if value_ns < _FIRST_NS:
        return 0
    exponent = value_ns.bit_length() - 1
    step = value_ns >> (exponent - _STEP_BITS) & (_STEPS - 1)
    return min(1 + (exponent - _FIRST_BITS) * _STEPS + step, _LAST)


def bounds_ns(bucket: int) -> tuple[int, int]:
    """Return the least value of a bucket and the least one above it (the last has the same)."""
    if bucket == 0:
        return 0, _FIRST_NS
    exponent, step = divmod(bucket - 1, _STEPS)
    scale = 1 << (exponent + _FIRST_BITS - _STEP_BITS)
    low = (_STEPS + step) * scale
    return low, low if bucket == _LAST else low + scale


class Histogram:
    """One histogram in shared memory; only its process writes it."""

    __slots__ = ("_cells",)

    def __init__(self, views: Views, block: str, name: str, row: int) -> None:
        """`name` is the column of `block`, "…_ns"."""
        self._cells = memoryview(views.column(block, name)[row])

    def record(self, value_ns: int) -> None:
        """Count a value."""
        # bucket_of written out: a call less for each job.
        if value_ns < _FIRST_NS:
            self._cells[0] += 1
            return
        exponent = value_ns.bit_length() - 1
        step = value_ns >> (exponent - _STEP_BITS) & (_STEPS - 1)
        self._cells[min(1 + (exponent - _FIRST_BITS) * _STEPS + step, _LAST)] += 1


_CENTRES_NS = np.array([sum(bounds_ns(b)) / 2 for b in range(HISTOGRAM_BUCKETS)])


def mean_ns(counts: NDArray[Any]) -> float:
    """Return the mean of the counted values, each taken to be its bucket's centre; 0 without any.

    `counts` has shape (HISTOGRAM_BUCKETS,), int64.
    """
    total = int(counts.sum())
    return float(counts @ _CENTRES_NS) / total if total else 0.0


def percentile_ns(counts: NDArray[Any], share: float) -> float:
    """Return the value below which `share` (0-1) of the counted values lie, 0 without any.

    `counts` has shape (HISTOGRAM_BUCKETS,), int64; add several histograms to merge them. Within
    a bucket values are taken to be spread evenly.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0
    wanted = share * total
    cumulated = np.cumsum(counts)
    bucket = int(np.searchsorted(cumulated, wanted))
    bucket = min(bucket, len(counts) - 1)
    low, high = bounds_ns(bucket)
    inside = int(counts[bucket])
    before = int(cumulated[bucket]) - inside
    return low + (high - low) * (wanted - before) / inside if inside else float(low)
