from msgspec.structs import replace

from scheduler.stress.figures import make_figures
from scheduler.stress.messages import Violation
from scheduler.stress.raw import Run
from scheduler.stress.summary import BIAS, BIAS_ELSEWHERE, bias, carried, doubts, lines, ms, verdict
from tests.stress.samples import call, empty, ramp, run_of


def said(run: Run) -> dict[str, str]:
    return dict(lines(run, make_figures(run)))


def test_it_fits_some_lines() -> None:
    calls = [call(100 * n, 20) for n in range(20)] + [call(9, 1, "JOB_TIMEOUT")]
    found = said(run_of(calls, ramp()))
    assert found["scenario"] == "a-test: A test, seed 1"
    assert found["jobs"] == "21 sent, 20 results, in 4 s: 5 jobs/s"
    assert found["latency"].startswith("p50 20 ms, p90 20 ms")
    assert found["errors"] == "1 JOB_TIMEOUT"
    assert found["promises"] == "all promises kept"
    assert "carried" in found


def test_an_empty_run_can_be_told() -> None:
    assert said(empty())["latency"] == "p50 -, p90 -, p99 -, p99.9 -, max -"


def test_a_broken_promise_is_the_verdict() -> None:
    run = run_of([], violations=[Violation("lost", "x"), Violation("lost", "y")])
    assert verdict(make_figures(run)) == "broken: 2 lost"


def test_reasons_to_doubt_are_told() -> None:
    late = call(0, 500)
    late.sent_ns = late.due_ns + 400_000_000
    run = run_of([late], interrupted=True)
    found = " ".join(doubts(run, replace(make_figures(run), others_cores=1.5)))
    for reason in ("ended early", "had 1.5 cores", "400 ms or more", "rest on 1 results"):
        assert reason in found
    assert doubts(empty(), make_figures(empty())) == []


def test_the_bias_depends_on_where_the_scheduler_runs() -> None:
    assert bias(run_of([])) == BIAS
    assert bias(run_of([], target="ws://far:5010", inside=None)) == BIAS_ELSEWHERE


def test_what_was_carried_is_told() -> None:
    whole = make_figures(run_of([call(50 * n, 20) for n in range(80)], ramp()))
    assert carried(whole) == "up to 20 jobs/s, the highest step"
    none = make_figures(run_of([call(100, 20, "JOB_TIMEOUT")], ramp()))
    assert carried(none) == "not even the lowest step"


def test_times_are_for_people() -> None:
    assert [ms(None), ms(0.123456), ms(12.0), ms(1_234.0)] == ["-", "0.123 ms", "12 ms", "1.23 s"]
