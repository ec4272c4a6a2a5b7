import re
from collections.abc import Iterator

import pytest

from scheduler.memory.layout import (
    DISPATCHER_COUNTERS,
    EXCLUSIONS,
    GATEWAY_CODES,
    GATEWAY_COUNTERS,
    GATEWAY_LATENCY,
    PROCESSES,
    PULSES,
)
from scheduler.stats.metric_readers import Distribution
from scheduler.stats.metrics import METRICS, PREFIX, Metric
from tests.stats.operators import metric_sources
from tests.stats.world import World, make_world

LABELS_MAX = 3


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def test_each_counter_of_the_layout_is_a_metric() -> None:
    origins = {metric.origin for metric in METRICS}
    blocks = (
        GATEWAY_COUNTERS,
        DISPATCHER_COUNTERS,
        GATEWAY_LATENCY,
        GATEWAY_CODES,
        PROCESSES,
        PULSES,
    )
    for block in blocks:
        for column in block.columns:
            if column.unit != "ns monotonic":
                assert f"`{block.name}.{column.name}`" in origins
    assert f"`{EXCLUSIONS.name}.excluded_total`" in origins


def test_names_are_used_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(rf"{PREFIX}[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert (metric.unit == "seconds") == bool(re.search(r"_seconds(_total)?$", metric.name))
    assert metric.help
    assert len(metric.labels) <= LABELS_MAX


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_samples_have_the_labels_declared(world: World, metric: Metric) -> None:
    seen = set()
    for sample in metric.read(metric_sources(world)):
        assert len(sample.labels) == len(metric.labels)
        assert isinstance(sample, Distribution) == (metric.kind == "histogram")
        assert sample.labels not in seen
        seen.add(sample.labels)
