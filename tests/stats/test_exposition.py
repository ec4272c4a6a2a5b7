import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from scheduler.memory.histogram import Histogram, bucket_of
from scheduler.memory.layout import HISTOGRAM_BUCKETS
from scheduler.stats.exposition import (
    BOUNDS_NS,
    PrometheusText,
    merge,
    metrics_json,
    takes_open_metrics,
)
from scheduler.stats.metrics import METRICS
from tests.stats.operators import metric_sources
from tests.stats.world import World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


@given(st.lists(st.integers(0, 1 << 40), max_size=50))
def test_merged_buckets_count_exactly(values_ns: list[int]) -> None:
    counts = np.zeros(HISTOGRAM_BUCKETS, np.int64)
    for value in values_ns:
        counts[bucket_of(value)] += 1
    buckets, count, _ = merge(counts)
    assert count == len(values_ns)
    for (bound, up_to), bound_ns in zip(buckets, BOUNDS_NS, strict=True):
        assert bound == bound_ns / 1e9
        assert up_to == sum(value < bound_ns for value in values_ns)


@given(st.lists(st.integers(1_024, 1 << 38), min_size=1, max_size=50))
def test_sums_are_nearly_right(values_ns: list[int]) -> None:
    counts = np.zeros(HISTOGRAM_BUCKETS, np.int64)
    for value in values_ns:
        counts[bucket_of(value)] += 1
    # Off by half a bucket, a sixteenth, where all values are the least of theirs.
    assert merge(counts)[2] == pytest.approx(sum(values_ns) / 1e9, rel=0.0626)


@pytest.mark.parametrize(
    ("accept", "parse", "kind"),
    [
        ("", parse_text, "text/plain"),
        ("application/openmetrics-text; version=1.0.0", parse_open, "application/openmetrics-text"),
    ],
)
def test_prometheus_reads_every_metric(world: World, accept: str, parse: object, kind: str) -> None:
    Histogram(world.views, "gateway_latency", "dispatch_ns", 1).record(5_000_000)
    world.count(1, jobs_accepted_total=7)
    text, content_type = PrometheusText(metric_sources(world)).render(accept)
    assert content_type.startswith(kind)
    assert callable(parse)
    families = {family.name: family for family in parse(text.decode())}
    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
    samples = {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["scheduler_gateway_jobs_accepted_total", (("gateway", "1"),)] == 7
    name = "scheduler_dispatch_latency_seconds"
    assert samples[f"{name}_count", (("gateway", "1"),)] == 1
    assert samples[f"{name}_sum", (("gateway", "1"),)] == pytest.approx(0.005, rel=0.07)


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "open_metrics"),
    [
        (PROMETHEUS_3, True),
        ("Application/OpenMetrics-Text", True),
        ("application/openmetrics-text; version=1.0.0", True),
        ("application/openmetrics-text; version=abc", True),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text; version=0.0.1, text/plain", False),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4", False),
        ("text/plain; version=abc", False),
        ("*/*", False),
        (",;=;,", False),
        ("", False),
    ],
)
def test_the_scraper_chooses_the_form(accept: str, open_metrics: bool) -> None:
    assert takes_open_metrics(accept) == open_metrics


def test_there_are_two_forms_whatever_is_asked_for(world: World) -> None:
    text = PrometheusText(metric_sources(world))
    kinds = ("application/openmetrics-text", "text/plain")
    content_types = [
        text.render(f"{kind}; version=1.0.{number}; escaping={escaping}")[1]
        for kind in kinds
        for number in range(10)
        for escaping in ("allow-utf-8", "dots", "values", "other")
    ]
    assert set(content_types) == {
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "text/plain; version=0.0.4; charset=utf-8",
    }
    assert len(text._recent._made) == 2


def test_json_says_the_same(world: World) -> None:
    Histogram(world.views, "gateway_latency", "dispatch_ns", 1).record(5_000_000)
    document = json.loads(metrics_json(metric_sources(world), 17))
    assert document["generated_at_ms"] == 17
    assert [metric["name"] for metric in document["metrics"]] == [m.name for m in METRICS]
    found = {metric["name"]: metric for metric in document["metrics"]}
    latency = found["scheduler_dispatch_latency_seconds"]
    assert (latency["type"], latency["unit"]) == ("histogram", "seconds")
    sample = latency["samples"][1]
    assert (sample["labels"], sample["count"]) == ({"gateway": "1"}, 1)
    assert [0.004194304, 0] in sample["buckets"]
    assert [0.008388608, 1] in sample["buckets"]
    assert found["scheduler_info"]["samples"][0]["value"] == 1.0
