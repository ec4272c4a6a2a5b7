"""The latency benchmark in small, and what its verdict rests on."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from native_bench.costs import CoreTimes
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
        assert sample["core_times"].keys() == {*sample["cpu_seconds"], "driver"}
        assert all(times["slices"] > 0 for times in _of_those_that_work(sample).values())
    assert [table.title for table in report.tables][1:] == ["waiting for a core"]


def _of_those_that_work(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        name: times
        for name, times in sample["core_times"].items()
        if name not in {"supervisor", "stats"}
    }


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


def test_waits_for_a_core_are_shown_by_second_job_and_turn() -> None:
    waits = {"gateway 0": CoreTimes(500_000_000, 20_000_000, 400), "driver": CoreTimes(0, 0, 0)}
    samples = [
        replace(sample(ONE_GATEWAY, 1, 1), core_times=waits),
        replace(sample(PYTHON_RELAY, 1, 1), core_times={"relay": CoreTimes(0, 1_000_000, 10)}),
    ]
    _, table = make_report(Settings(rounds=1), Samples([1.0], samples)).tables
    assert table.rows == [
        ("scheduler: gateway 0", "50%", "20.0", "20.0", "400", "50.0"),
        ("scheduler: driver", "0%", "0.0", "0.0", "0", "0.0"),
        ("Python relay: relay", "0%", "1.0", "1.0", "10", "100.0"),
    ]
    assert table.note.startswith("one round")


def test_a_result_from_before_has_no_table_of_waits() -> None:
    samples = [sample(ONE_GATEWAY, 1, 1), sample(PYTHON_RELAY, 1, 1)]
    kept = msgspec.to_builtins(samples)
    for each in kept:
        del each["core_times"]
    read = msgspec.convert(kept, list[Sample])
    assert len(make_report(Settings(), Samples([1.0], read)).tables) == 1
