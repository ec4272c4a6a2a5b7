"""The latency benchmark in small, and what its verdict rests on."""

import pytest

from native_bench.latency import ADDED, TIMES, Sample, Samples, Settings, make_report, measure
from native_bench.load import Latency
from native_bench.sites import ONE_GATEWAY, PYTHON_RELAY


def test_both_programs_are_timed_at_one_rate() -> None:
    settings = Settings(
        nodes=5,
        sessions=4,
        rounds=1,
        saturation_seconds=0.2,
        warmup_seconds=0.1,
        seconds=0.3,
    )
    report = measure(settings)
    [found] = report.samples
    assert {sample["program"] for sample in found["samples"]} == {ONE_GATEWAY, PYTHON_RELAY}
    assert len({sample["rate"] for sample in found["samples"]}) == 1
    for sample in found["samples"]:
        assert sample["faults"] == {}
        times = sample["times"][ADDED]
        assert 0 < times["p50"] <= times["p99"] <= times["max"]
        assert sum(count for _, count in times["buckets"]) == times["count"]


def sample(program: str, p50_us: int, p99_us: int, *, late_sends: int = 0) -> Sample:
    found = Latency(1_000, p50_us * 1_000, 0, p99_us * 1_000, 0, 0)
    return Sample(
        program=program,
        round=0,
        rate=1_000.0,
        jobs=1_000,
        seconds=1.0,
        late_sends=late_sends,
        cpu_seconds={"gateway 0": 0.5},
        driver_cpu_seconds=0.1,
        faults={},
        times=dict.fromkeys(TIMES, found),
    )


def test_the_median_of_the_rounds_counts_and_the_relay_stands_beside() -> None:
    ours = [sample(ONE_GATEWAY, *times) for times in ((100, 900), (300, 1_100), (200, 5_000))]
    relay = sample(PYTHON_RELAY, 50, 400)
    report = make_report(Settings(), Samples([2_000.0], [*ours, relay]))
    assert report.figures == {
        "rate": 1_000,
        "p50_ms": pytest.approx(0.2),
        "p99_ms": pytest.approx(1.1),
        "relay_p50_ms": pytest.approx(0.05),
        "relay_p99_ms": pytest.approx(0.4),
    }
    assert report.doubts == []


def test_a_driver_that_falls_behind_is_a_doubt() -> None:
    samples = [sample(ONE_GATEWAY, 1, 1, late_sends=11), sample(PYTHON_RELAY, 1, 1, late_sends=10)]
    [doubt] = make_report(Settings(), Samples([1.0], samples)).doubts
    assert "late in 1 of 2 measurements" in doubt
