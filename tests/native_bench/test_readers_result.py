"""The readers' benchmark as a result: small enough to keep, with the move that a target bounds."""

import pytest

from native_bench.readers_looks import Cpu
from native_bench.readers_plan import GZIP, NONE, PLAIN, STREAMS, UNCHANGED, Settings
from native_bench.readers_report import Report, Sample, Times
from native_bench.readers_result import as_result

TIMES = Times(1, 0, 1.0, 1.0, 1.0, 0.0, 100.0)


def sample(form: str, p99_ms: float) -> Sample:
    jobs = Times(2_000, 0, 400.0, 1.0, p99_ms, 0.0, 0.0)
    job_ms = [1.0] * 1_990 + [p99_ms] * 10
    return Sample(
        form, jobs, TIMES, {"end_to_end": 1.0}, {"stats": Cpu(0.1, 0)}, 0.0, job_ms, [1.0]
    )


def report(*samples: Sample) -> Report:
    settings = Settings(forms=(NONE, PLAIN, GZIP, UNCHANGED, STREAMS), windows=1)
    return Report("commit", "machine", settings, list(samples), {})


def test_the_greatest_move_counts_in_whatever_direction_but_of_requests_only() -> None:
    found = as_result(
        report(
            sample(NONE, 10),
            sample(PLAIN, 10.5),
            sample(GZIP, 8.8),
            sample(UNCHANGED, 11),
            sample(STREAMS, 20),
        )
    )
    assert found.figures["p99_moves"] == pytest.approx(0.12)


def test_raw_times_are_kept_as_histograms() -> None:
    [window, _] = as_result(report(sample(NONE, 10), sample(PLAIN, 10))).samples
    counts = window["job_ms"]
    assert sum(counts.values()) == 2_000
    assert len(counts) == 2
    assert all(
        float(low) <= ms < float(low) * 1.13 for low, ms in zip(counts, (1, 10), strict=True)
    )
