"""The readers' benchmark in small, so that it can't rot, and what its verdict rests on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from msgspec.structs import replace
from rich.console import Console

from native_bench import readers_report
from native_bench.readers import measure
from native_bench.readers_plan import (
    AGAIN,
    ASKING,
    FORMS,
    GZIP,
    NONE,
    PLAIN,
    STREAMS,
    UNCHANGED,
    Call,
    Settings,
    arrivals,
    plan_block,
)
from native_bench.readers_report import Report, Sample, Times, ratio_to_none
from native_bench.readers_requests import Answers
from native_bench.results import rich_table
from scheduler.config import LoadBalancerSettings
from scheduler.errors import ConfigError
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.stats.reading import MemoryReader
from scheduler.stats.schema import CatalogueState, Origin, StatsCounters
from scheduler.stats.snapshot import encode, make_snapshot
from tests.harness import poll, runs

SMALL = Settings(
    nodes=20,
    sessions=5,
    jobs_per_second=60,
    connections=4,
    requests_per_second=60,
    windows=1,
    minutes_max=0,
    others_max=float(os.cpu_count() or 1),  # the tests may run beside anything
    window_seconds=0.5,
    settle_seconds=0.1,
)


def test_all_jobs_and_requests_are_answered() -> None:
    report = measure(SMALL)
    assert report.problems == {}
    assert {sample.form for sample in report.samples} == set(FORMS)
    for sample in report.samples:
        assert (sample.jobs.failed, sample.requests.failed) == (0, 0)
        assert sample.jobs.count == len(sample.job_ms) > 0
        assert (sample.requests.count > 0) == (sample.form in ASKING)
        assert sample.stages_p99_ms["end_to_end"] > 0
    [plain], [zipped], [unchanged] = (report.of(form) for form in (PLAIN, GZIP, UNCHANGED))
    sizes = [sample.requests.mean_bytes for sample in (plain, zipped, unchanged)]
    assert sizes == sorted(sizes, reverse=True)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    console = Console(width=200)
    with console.capture() as shown:
        for table in readers_report.tables(report):
            console.print(rich_table(table))
    assert all(form in shown.get() for form in FORMS)


def test_an_unknown_form_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no form often; there are none, .*plain"):
        measure(replace(SMALL, forms=("often",)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_that_it_started(tmp_path: Path, number: int) -> None:
    log_path, folder = tmp_path / "log", tmp_path / "temporary"
    folder.mkdir()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "native_bench.run", "readers", "--nodes", "5"],
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=log,
            stderr=log,
        )

    def drivers_run() -> bool:
        assert process.poll() is None, log_path.read_text()
        return bool(list(folder.glob("*/requests.log")))

    try:
        poll("the drivers run", drivers_run, seconds=60)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) != 0
    finally:
        process.terminate()
        process.wait(60)
    assert "Traceback" not in log_path.read_text()
    assert not list(folder.iterdir())
    assert len(started) >= 6  # supervisor, dispatcher, stats, gateway, nodes, sessions
    assert not [child for child in started if runs(child)]


def test_a_block_has_each_form_once_without_gaps() -> None:
    blocks = [plan_block(SMALL, number, 1_000) for number in range(20)]
    for windows in blocks:
        assert sorted(window.form for window in windows) == sorted(FORMS)
        ends = [1_000, *(window.until_ns for window in windows)]
        assert [window.begin_ns for window in windows] == ends[:-1]
        assert all(w.until_ns - w.from_ns == 500_000_000 for w in windows)
    orders = {tuple(window.form for window in windows) for windows in blocks}
    assert len(orders) > 10


def test_calls_are_due_at_the_rate_asked_for() -> None:
    dues = list(arrivals(1, 200.0, 5, 100_000_000_005))
    assert dues == sorted(dues)
    assert dues[0] >= 5
    assert dues[-1] < 100_000_000_005
    assert len(dues) == pytest.approx(20_000, rel=0.05)


# --- what is wrong with an answer ----------------------------------------------------------


def snapshot(sequence: int = 1) -> bytes:
    segment = Segment.create(
        Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1),
        epoch="e",
        started_ms=0,
        started_ns=0,
    )
    made = make_snapshot(
        MemoryReader(segment.views).read(),
        processes=[],
        services=[],
        catalogue=CatalogueState("none"),
        stats=StatsCounters(),
        limits=LoadBalancerSettings(),
        origin=Origin(0, sequence, ""),
        now_ns=0,
    )
    segment.close()
    return encode(made)


def response(body: bytes = b"", *, status: str = "200 OK", tag: str = '"a"') -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nETag: {tag}\r\n\r\n"
    return head.encode() + body


def problem(*answers: bytes, asked: bytes = b"") -> str:
    """Return what is wrong with the last of some answers."""
    taken = Answers()
    for answer in answers:
        taken.take(Call(0, 0), answer, asked)
    return taken.calls[-1].error


def test_right_answers_have_no_problem() -> None:
    good = response(snapshot())
    assert problem(good) == problem(good, good) == ""
    assert problem(good, response(snapshot(2), tag='"b"')) == ""
    assert problem(response(status="304 Not Modified"), asked=b'"a"') == ""


@pytest.mark.parametrize(
    ("answers", "asked", "says"),
    [
        ([response(snapshot()), response(snapshot(2))], b"", "other bytes"),
        ([response(b"{}")], b"", "no snapshot"),
        ([response(b"<html>")], b"", "no snapshot"),
        ([response(snapshot(), status="503 Service Unavailable")], b"", "status 503"),
        ([response(status="304 Not Modified")], b"", "status 304"),
        ([response(status="304 Not Modified")], b'"b"', "not what was asked for"),
    ],
)
def test_wrong_answers_are_named(answers: list[bytes], asked: bytes, says: str) -> None:
    assert says in problem(*answers, asked=asked)


# --- what the samples come to ----------------------------------------------------------------


def sample(form: str, p99_ms: float, others_used: float = 0.0, late_ms: float = 0.0) -> Sample:
    times = Times(1, 0, 1.0, p99_ms, p99_ms, late_ms, 0.0)
    return Sample(form, times, times, {}, {}, others_used, [], [])


def report_of(*samples: Sample) -> Report:
    settings = Settings(forms=(NONE, AGAIN, STREAMS), windows=2, others_max=0.1)
    return Report("", "", settings, list(samples), {})


def test_the_ratio_is_that_of_medians_of_windows_that_count() -> None:
    without = [sample(NONE, p99_ms) for p99_ms in (10, 11, 12)]
    with_readers = [sample(STREAMS, p99_ms) for p99_ms in (20, 22, 24)]
    disturbed = [sample(STREAMS, 500, others_used=0.2), sample(NONE, 700, others_used=0.2)]
    report = report_of(*without, *with_readers, *disturbed)
    ratio, low, high = ratio_to_none(report, STREAMS, lambda s: s.jobs.p99_ms)
    assert ratio == 2
    assert 20 / 12 <= low < 2 < high <= 24 / 10


def test_doubts_name_what_the_figures_hide() -> None:
    fine = [sample(form, 1) for form in (NONE, AGAIN, STREAMS)] * 2
    assert list(readers_report.doubts(report_of(*fine))) == []
    report = report_of(*fine[1:], sample(NONE, 1, others_used=0.2), sample(AGAIN, 1, late_ms=6))
    report.problems["status 503"] = 3
    found = "\n".join(readers_report.doubts(report))
    assert "3 calls failed: status 503" in found
    assert "1 of 7 windows don't count" in found
    assert "none: only 1 windows count" in found
    assert "the driver of jobs fell behind in 1 of 6 windows" in found
