"""Histograms: every value has its bucket, percentiles are as exact as promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.histogram import Histogram, bounds_ns, bucket_of, mean_ns, percentile_ns
from scheduler.memory.layout import HISTOGRAM_BUCKETS, Dimensions
from scheduler.memory.segment import Segment

LONGEST_NS = bounds_ns(HISTOGRAM_BUCKETS - 1)[0]


@given(st.integers(0, LONGEST_NS * 2))
def test_a_value_lies_within_the_bounds_of_its_bucket(value_ns: int) -> None:
    bucket = bucket_of(value_ns)
    low, high = bounds_ns(bucket)
    assert low <= value_ns
    assert value_ns < high or bucket == HISTOGRAM_BUCKETS - 1


@given(st.integers(1_024, LONGEST_NS - 1))
def test_a_bucket_is_an_eighth_wide_at_most(value_ns: int) -> None:
    low, high = bounds_ns(bucket_of(value_ns))
    assert (high - low) * 8 <= low


def test_buckets_follow_each_other_without_gaps() -> None:
    for bucket in range(HISTOGRAM_BUCKETS - 1):
        assert bounds_ns(bucket)[1] == bounds_ns(bucket + 1)[0]


def test_a_clock_that_went_back_is_counted_first() -> None:
    assert bucket_of(-5) == 0


@given(st.lists(st.integers(1_024, 10**11), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_off_by_an_eighth_at_most(values: list[int], share: float) -> None:
    counts = np.zeros(HISTOGRAM_BUCKETS, np.int64)
    for value in values:
        counts[bucket_of(value)] += 1
    exact = np.quantile(values, share, method="inverted_cdf")
    assert percentile_ns(counts, share) == pytest.approx(exact, rel=0.13)


def test_without_values_a_percentile_is_zero() -> None:
    assert percentile_ns(np.zeros(HISTOGRAM_BUCKETS, np.int64), 0.5) == 0


def test_recording_counts_in_shared_memory() -> None:
    dimensions = Dimensions(gateways=2, nodes=1, sessions_per_gateway=1, classes=1)
    segment = Segment.create(dimensions, epoch="", started_ms=0, started_ns=0)
    histogram = Histogram(segment.views, "gateway_latency", "dispatch_ns", 1)
    histogram.record(5_000)
    histogram.record(5_000)
    counts = segment.views.column("gateway_latency", "dispatch_ns")
    assert counts[1, bucket_of(5_000)] == 2
    assert counts.sum() == 2
    segment.close()


@given(st.lists(st.integers(1_024, 10**11), min_size=1, max_size=200))
def test_a_mean_is_off_by_an_eighth_at_most(values: list[int]) -> None:
    counts = np.zeros(HISTOGRAM_BUCKETS, np.int64)
    for value in values:
        counts[bucket_of(value)] += 1
    assert mean_ns(counts) == pytest.approx(np.mean(values), rel=0.13)


def test_without_values_a_mean_is_zero() -> None:
    assert mean_ns(np.zeros(HISTOGRAM_BUCKETS, np.int64)) == 0
