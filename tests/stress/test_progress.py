import pytest

from scheduler.stress.messages import Batch, Violation
from scheduler.stress.progress import Collected, cpu_shares
from scheduler.stress.raw import Look
from tests.stress.samples import BEGIN_NS, MS, call, looks


def test_all_that_drivers_report_is_kept() -> None:
    collected = Collected(10)
    collected.take(0, Batch([call(0, 10)], [], {"x": 1}, sent=5, waiting=4, sessions=2))
    collected.take(1, Batch([call(0, 20)], [Violation("lost", "y")], {"x": 2}, 3, 2, 1))
    collected.take(0, Batch([call(1, 10, "JOB_TIMEOUT")], [], {}, sent=6, waiting=3, sessions=2))
    progress = collected.progress(BEGIN_NS, BEGIN_NS + 1_000 * MS, looks(), stopping=False)
    assert (progress.sent, progress.waiting, progress.sessions) == (9, 5, 3)
    assert (progress.results, progress.errors, progress.violations) == (2, 1, 1)
    assert (progress.delivered_per_second, progress.errors_per_second) == (2, 1)
    assert (progress.p50_ms, progress.p99_ms) == (20, 20)
    assert progress.cpu == pytest.approx({"dispatcher": 0.1, "load: sessions 0": 0.2})
    assert len(collected.calls) == 3
    assert collected.troubles == {"x": 3}


def test_only_the_last_seconds_are_now() -> None:
    collected = Collected(10)
    collected.take(0, Batch([call(0, 10)]))
    collected.take(0, Batch([call(8_000, 10)]))
    progress = collected.progress(BEGIN_NS, BEGIN_NS + 9_000 * MS, [], stopping=True)
    assert progress.delivered_per_second == pytest.approx(1 / 3)
    assert progress.results == 2
    assert progress.delivered_history == [1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_before_the_begin_there_is_nothing() -> None:
    progress = Collected(10).progress(BEGIN_NS, BEGIN_NS - MS, [], stopping=False)
    assert (progress.elapsed_seconds, progress.p99_ms, progress.cpu) == (0, None, {})


def test_a_process_that_came_meanwhile_has_no_share_yet() -> None:
    before = Look(0, {"a": 1.0}, 0.0)
    after = Look(2_000 * MS, {"a": 2.0, "b": 5.0}, 0.0)
    assert cpu_shares(before, after) == {"a": 0.5}
