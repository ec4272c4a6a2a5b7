import os
from collections.abc import Iterator

import pytest

from scheduler import __version__
from scheduler.memory.histogram import Histogram, bucket_of
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW
from scheduler.protocol.cancellations import Cancellation, cancel_index
from scheduler.protocol.codes import code_index
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.missing import missing_reason_index
from scheduler.protocol.status import Status
from scheduler.stats import metric_readers
from scheduler.stats.meter import RequestMeter
from scheduler.stats.metric_readers import Distribution, MetricSources, Sample
from scheduler.stats.metrics import METRICS
from tests.stats.operators import metric_sources
from tests.stats.world import STARTED_NS, World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def values(sources: MetricSources, name: str) -> dict[tuple[str, ...], float]:
    [metric] = [metric for metric in METRICS if metric.name == name]
    found = {}
    for sample in metric.read(sources):
        assert isinstance(sample, Sample)
        found[sample.labels] = sample.value
    return found


def test_columns_have_a_sample_for_each_row(world: World) -> None:
    world.count(0, sessions=3)
    world.count(1, sessions=4)
    world.put("dispatcher_counters", 0, queued=5)
    world.put("pulses", DISPATCHER_ROW, loop_lag_max_ns=2_000_000)
    sources = metric_sources(world)
    assert values(sources, "scheduler_gateway_sessions") == {("0",): 3, ("1",): 4}
    assert values(sources, "scheduler_dispatcher_queued") == {(): 5}
    lags = values(sources, "scheduler_process_loop_lag_max_seconds")
    assert lags[("dispatcher", "0")] == pytest.approx(0.002)
    assert set(lags) == {
        ("supervisor", "0"),
        ("dispatcher", "0"),
        ("stats", "0"),
        ("gateway", "0"),
        ("gateway", "1"),
    }


def test_histograms_are_told_by_gateway(world: World) -> None:
    Histogram(world.views, "gateway_latency", "dispatch_ns", 1).record(5_000_000)
    [metric] = [m for m in METRICS if m.name == "scheduler_dispatch_latency_seconds"]
    empty, filled = metric.read(metric_sources(world))
    assert isinstance(empty, Distribution)
    assert isinstance(filled, Distribution)
    assert (empty.labels, empty.counts.sum()) == (("0",), 0)
    assert filled.counts[bucket_of(5_000_000)] == 1


def test_nodes_and_what_they_can_do(world: World) -> None:
    world.add_service("asr")
    world.add_service("tts")
    world.put_node(0, "a", ready=("asr", "tts"), capacity=4)
    world.put_node(1, "b", ready=("asr",), capacity=3)
    world.put_node(2, "c", ready=("asr",), capacity=9, status=Status.DRAINING)
    sources = metric_sources(world)
    nodes = values(sources, "scheduler_nodes")
    assert nodes.pop(("ready",)) == 2
    assert nodes.pop(("draining",)) == 1
    assert set(nodes.values()) == {0}
    assert values(sources, "scheduler_ready_slots") == {(): 7}
    assert values(sources, "scheduler_service_nodes_ready") == {("asr",): 2, ("tts",): 1}


def test_times(world: World) -> None:
    sources = metric_sources(world)
    oldest = "scheduler_dispatcher_oldest_queued_seconds"
    assert values(sources, oldest) == {(): 0}
    world.put("dispatcher_counters", 0, oldest_queued_ns=STARTED_NS + 3_000_000_000)
    assert values(sources, oldest) == {(): 2.0}
    assert values(sources, "scheduler_start_time_seconds") == {(): 0.001}
    assert values(sources, "scheduler_info") == {(__version__,): 1}


def test_processes(world: World) -> None:
    world.beat(FIRST_GATEWAY_ROW, pid=os.getpid(), now_ns=STARTED_NS + 4_500_000_000)
    world.beat(DISPATCHER_ROW, pid=1 << 30, now_ns=STARTED_NS)
    sources = metric_sources(world)
    up = values(sources, "scheduler_process_up")
    assert (up["gateway", "0"], up["dispatcher", "0"], up["gateway", "1"]) == (1, 0, 0)
    ages = values(sources, "scheduler_process_heartbeat_age_seconds")
    assert ages == {("gateway", "0"): 0.5, ("dispatcher", "0"): 5.0}
    for name in ("resident_memory_bytes", "cpu_seconds_total"):
        [(labels, value)] = values(sources, f"scheduler_process_{name}").items()
        assert labels == ("gateway", "0")
        assert value > 0


def test_the_stats_process_s_own(world: World) -> None:
    meter = RequestMeter(lambda: False)
    meter.requests["/ready", 200] = 3
    sources = metric_sources(world, meter)
    assert values(sources, "scheduler_stats_requests_total") == {("/ready", "200"): 3}
    assert values(sources, "scheduler_stats_snapshots_total") == {(): 0}


def test_failures_and_refusals_by_code(world: World) -> None:
    column = world.views.column("gateway_codes", "jobs_failed_by_code_total")
    column[0, code_index("JOB_TIMEOUT")] = 1
    column[1, code_index("JOB_TIMEOUT")] = 2
    column[1, code_index("MADE_UP")] = 4
    codes = values(metric_sources(world), "scheduler_jobs_failed_by_code_total")
    assert codes.pop(("JOB_TIMEOUT",)) == 3
    assert codes.pop(("other",)) == 4
    assert set(codes.values()) == {0}


def test_missing_models_by_service(world: World) -> None:
    world.add_service("asr")
    world.put("services", 0, missing_total=3, rate_limited_total=1, marked_total=2)
    world.put("dispatcher_counters", 0, model_not_available_total=5)
    sources = metric_sources(world)
    prefix = "scheduler_model_not_available"
    assert values(sources, f"{prefix}_missing_total") == {("asr",): 3, ("other",): 2}
    assert values(sources, f"{prefix}_rate_limited_total") == {("asr",): 1}
    assert values(sources, f"{prefix}_marked_total") == {("asr",): 2}


def test_cancelled_jobs_by_reason_are_summed_over_the_gateways(world: World) -> None:
    column = world.views.column("cancellations", "jobs_cancelled_by_reason_total")
    column[:, cancel_index(Cancellation.NOT_RESUMED)] = (2, 3)
    reasons = values(metric_sources(world), "scheduler_jobs_cancelled_by_reason_total")
    assert reasons.pop(("not_resumed",)) == 5
    assert set(reasons.values()) == {0}


def test_exclusions(world: World) -> None:
    world.views.column("exclusions", "excluded_total")[0, list(Exclusion).index(Exclusion.FULL)] = 6
    excluded = values(metric_sources(world), "scheduler_excluded_total")
    assert excluded[(Exclusion.FULL.value,)] == 6
    assert len(excluded) == len(Exclusion)


@pytest.mark.parametrize(
    ("column", "metric"),
    [
        ("model_missing_by_reason_total", "by_reason_total"),
        ("model_rate_limited_by_reason_total", "rate_limited_by_reason_total"),
        ("model_marked_by_reason_total", "marked_by_reason_total"),
    ],
)
def test_missing_models_by_reason(world: World, column: str, metric: str) -> None:
    world.views.column("storms", column)[0, missing_reason_index("downloading")] = 4
    reasons = values(metric_sources(world), f"scheduler_model_not_available_{metric}")
    assert reasons.pop(("downloading",)) == 4
    assert set(reasons.values()) == {0}


def test_totals_of_nodes_name_the_worst_and_sum_up_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_readers, "NODES_NAMED_MAX", 2)
    for slot, total in enumerate((1, 5, 0, 3)):
        world.put_node(slot, f"node-{slot}", model_missing_total=total)
    world.put_node(4, "left", status=Status.FREE, model_missing_total=9)
    world.put("dispatcher_counters", 0, model_not_available_total=18)
    sources = metric_sources(world)
    assert values(sources, "scheduler_node_model_missing_total") == {
        ("node-1",): 5,
        ("node-3",): 3,
        ("other",): 10,
    }
    assert values(sources, "scheduler_node_audit_freed_total") == {("other",): 0}


def test_signs_of_lost_load(world: World) -> None:
    world.put_node(0, "wrong", audit_looks=30)
    world.put_node(1, "for a moment", audit_looks=29)
    world.count(1, oldest_job_ns=STARTED_NS + 2_000_000_000)
    sources = metric_sources(world)
    assert values(sources, "scheduler_audit_differing_nodes") == {(): 1}
    assert values(sources, "scheduler_gateway_oldest_job_seconds") == {("0",): 0, ("1",): 3.0}
