"""The metrics in the forms that are sent: Prometheus text and JSON."""

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from scheduler.memory.histogram import bounds_ns, bucket_of
from scheduler.memory.layout import HISTOGRAM_BUCKETS
from scheduler.stats.metric_readers import Distribution, MetricSources
from scheduler.stats.metrics import METRICS, Metric
from scheduler.stats.reading import Int64s
from scheduler.stats.responses import Recent

BOUNDS_NS = tuple(1 << bits for bits in range(18, 36))
"""0.26 ms to 34 s. Powers of two are bounds of log buckets too, so that counts are exact."""

_ENDS = np.array([bucket_of(bound) for bound in BOUNDS_NS])
_MIDDLES_SECONDS = np.array([sum(bounds_ns(b)) / 2e9 for b in range(HISTOGRAM_BUCKETS)])

_OPEN_METRICS = "application/openmetrics-text"

Buckets = list[tuple[float, int]]
"""(bound in seconds, values up to it); the last bound, infinity, is left out."""


class MetricSample(Struct, frozen=True, omit_defaults=True):
    """A value, or a histogram: `buckets` are [bound in seconds, values up to it].

    `sum` is worked out from finer buckets and off by at most 6.25 %.
    """

    labels: dict[str, str]
    value: float | UnsetType = UNSET
    count: int | UnsetType = UNSET
    sum: float | UnsetType = UNSET
    buckets: Buckets | UnsetType = UNSET


class MetricDocument(Struct, frozen=True):
    """One metric with all its samples."""

    name: str
    type: str
    help: str
    unit: str
    samples: list[MetricSample]


class MetricsDocument(Struct, frozen=True):
    """All metrics."""

    generated_at_ms: int
    metrics: list[MetricDocument]


def merge(counts: Int64s) -> tuple[Buckets, int, float]:
    """Return the buckets, the count and the estimated sum in seconds of a log histogram."""
    cumulated = np.cumsum(counts)
    up_to = cumulated[_ENDS - 1].tolist()
    buckets = [(bound / 1e9, count) for bound, count in zip(BOUNDS_NS, up_to, strict=True)]
    return buckets, int(cumulated[-1]), float(counts @ _MIDDLES_SECONDS)


def metrics_json(sources: MetricSources, now_ms: int) -> bytes:
    """Return a MetricsDocument."""
    documents = [
        MetricDocument(m.name, m.kind, m.help, m.unit, list(_samples(m, sources))) for m in METRICS
    ]
    return msgspec.json.encode(MetricsDocument(now_ms, documents))


def _samples(metric: Metric, sources: MetricSources) -> Iterator[MetricSample]:
    for sample in metric.read(sources):
        labels = dict(zip(metric.labels, sample.labels, strict=True))
        if isinstance(sample, Distribution):
            buckets, count, total = merge(sample.counts)
            yield MetricSample(labels, count=count, sum=round(total, 9), buckets=buckets)
        else:
            yield MetricSample(labels, float(sample.value))


class PrometheusText:
    """All metrics as Prometheus asks for them."""

    def __init__(self, sources: MetricSources) -> None:
        # A registry of its own: the library's default one has metrics of this process alone.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_MemoryCollector(sources))
        self._recent: Recent[bytes] = Recent()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type, chosen by the Accept header."""
        # The library doesn't see the header itself: it fails on versions that are no numbers, and
        # repeats others in the type, so that there would be as many forms as anybody asks for. How
        # names are escaped is all one, since none needs it.
        encode, content_type = choose_encoder(_OPEN_METRICS if takes_open_metrics(accept) else "")
        return self._recent.get(content_type, lambda: encode(self._registry)), content_type


def takes_open_metrics(accept: str) -> bool:
    """Return whether an Accept header names OpenMetrics, of version 1 or later, before plain text.

    Scrapers name first what they like best.
    """
    for choice in accept.split(","):
        kind, *parameters = (part.strip() for part in choice.lower().split(";"))
        if kind == _OPEN_METRICS:
            if not any(parameter.startswith("version=0") for parameter in parameters):
                return True
        elif kind == "text/plain":
            return False
    return False


class _MemoryCollector(Collector):
    """Reads shared memory when it is asked."""

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _family(metric, self._sources)


def _family(metric: Metric, sources: MetricSources) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for sample in metric.read(sources):
            assert isinstance(sample, Distribution)
            buckets, count, total = merge(sample.counts)
            bounds = [*((str(bound), up_to) for bound, up_to in buckets), ("+Inf", count)]
            histogram.add_metric(sample.labels, bounds, total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for sample in metric.read(sources):
        assert not isinstance(sample, Distribution)
        family.add_metric(sample.labels, sample.value)
    return family
