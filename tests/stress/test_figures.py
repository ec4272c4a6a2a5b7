import numpy as np
import pytest

from scheduler.stress.figures import Latency, make_figures, make_latency
from scheduler.stress.messages import CUT_OFF, LOST, TALKER, UNFINISHED, Violation
from scheduler.stress.scenario import Talkers
from tests.stress.samples import call, empty, ramp, run_of, steady


def test_an_empty_run_has_figures_and_none_of_them_is_made_up() -> None:
    figures = make_figures(empty())
    assert (figures.sent, figures.results, figures.errors) == (0, 0, {})
    assert figures.latency == Latency(0)
    assert figures.histogram.counts == []
    for series in (figures.per_second, figures.steps, figures.stages, figures.cpu):
        assert series == []
    assert figures.carried_rate is None
    assert figures.others_cores is None
    assert figures.kept


def test_latency_counts_from_when_a_job_was_due() -> None:
    run = run_of([call(number, 10 + number) for number in range(100)])
    figures = make_figures(run)
    assert figures.latency == Latency(100, 59.5, 59, 99, 108, 109, 109)
    assert figures.from_sent.max_ms == 108
    assert figures.send_lag.p50_ms == 1
    assert sum(figures.histogram.counts) == 100
    assert len(figures.histogram.edges_ms) == len(figures.histogram.counts) + 1


def test_the_warm_up_does_not_count_for_latency() -> None:
    run = run_of([call(100, 900), call(1_500, 20)], steady(warmup_seconds=1.0))
    figures = make_figures(run)
    assert figures.results == 2
    assert (figures.latency.count, figures.latency.max_ms) == (1, 20)


def test_each_ending_is_counted_once() -> None:
    run = run_of(
        [
            call(0, 10),
            call(1, 10, "JOB_TIMEOUT"),
            call(2, 10, "SERVER_BUSY", accepted=False),
            call(3, 10, "SERVER_BUSY", accepted=False),
            call(4, 10, LOST),
            call(5, 10, CUT_OFF),
            call(6, 10, UNFINISHED),
        ],
        violations=[Violation("lost", "x")],
    )
    figures = make_figures(run)
    assert (figures.sent, figures.results) == (7, 1)
    assert figures.failed == {"JOB_TIMEOUT": 1}
    assert figures.refused == {"SERVER_BUSY": 2}
    assert (figures.lost, figures.cut_off, figures.unfinished) == (1, 1, 1)
    assert figures.errors == {"SERVER_BUSY": 2, "JOB_TIMEOUT": 1, CUT_OFF: 1, LOST: 1}
    assert figures.broken == {"lost": 1}
    assert not figures.kept


def test_a_second_has_what_was_due_and_what_came_in_it() -> None:
    run = run_of([call(0, 10), call(900, 300), call(1_100, 50, "JOB_TIMEOUT")])
    first, second = make_figures(run).per_second
    assert (first.offered, first.delivered, first.errors) == (2, 1, 0)
    assert (first.p50_ms, first.p99_ms) == (10, 300)
    assert (second.offered, second.delivered, second.errors) == (1, 1, 1)
    assert second.p50_ms is None


def test_a_ramp_is_carried_up_to_the_step_that_falls_behind() -> None:
    sound = [call(100 * number, 20) for number in range(20)]
    late = [call(2_000 + 50 * number, 3_000) for number in range(40)]
    figures = make_figures(run_of(sound + late, ramp()))
    low, high = figures.steps
    assert (low.rate, low.offered, low.delivered, low.carried) == (10, 10, 10, True)
    assert (high.rate, high.offered, high.delivered, high.carried) == (20, 20, 0, False)
    assert figures.carried_rate == 10


def test_a_step_with_errors_is_not_carried() -> None:
    calls = [call(100 * number, 20, "SERVER_BUSY" if number == 3 else "") for number in range(20)]
    figures = make_figures(run_of(calls, ramp()))
    assert not figures.steps[0].carried
    assert figures.carried_rate is None


def test_steps_that_were_not_reached_are_left_out() -> None:
    run = run_of([call(0, 10)], ramp(), interrupted=True, until_ns=8_000_000_000)
    assert [step.rate for step in make_figures(run).steps] == [10]


def test_kinds_and_talkers_are_apart() -> None:
    run = run_of(
        [call(0, 10), call(0, 30, kind=TALKER), call(0, 5, "JOB_TIMEOUT", kind=TALKER)],
        steady(talkers=Talkers(sessions=1)),
    )
    jobs, talkers = make_figures(run).kinds
    assert (jobs.name, jobs.sent, jobs.errors, jobs.latency.p50_ms) == ("en to es", 1, 0, 10)
    assert (talkers.sent, talkers.errors, talkers.latency.p50_ms) == (2, 1, 30)


def test_processes_have_the_cores_that_they_used() -> None:
    figures = make_figures(run_of([]))
    dispatcher, load = figures.cpu
    assert dispatcher.name == "dispatcher"
    assert dispatcher.mean == pytest.approx(0.1)
    assert load.shares == pytest.approx([0.2] * 3)
    assert figures.others_cores == pytest.approx(1.2)


def test_stages_come_from_their_buckets() -> None:
    stages = {stage.name: stage.latency for stage in make_figures(run_of([])).stages}
    assert stages["queue"] == Latency(0)
    assert stages["node"].count == 10
    assert stages["node"].p50_ms == pytest.approx(30, rel=0.125)


def test_percentiles_are_values_that_occurred() -> None:
    latency = make_latency(np.array([1_000_000, 9_000_000], np.int64))
    assert (latency.p50_ms, latency.p90_ms) == (1, 9)
