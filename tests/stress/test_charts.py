from scheduler.stress.charts import draw
from scheduler.stress.figures import make_figures
from scheduler.stress.raw import Run
from tests.stress.samples import call, empty, ramp, run_of

PNG = b"\x89PNG\r\n\x1a\n"
OF_A_STEADY_LOAD = ["latency", "over-time", "stages", "cpu", "nodes"]


def names(run: Run) -> list[str]:
    charts = list(draw(run, make_figures(run)))
    assert all(chart.png.startswith(PNG) and len(chart.png) > 2_000 for chart in charts)
    assert all(chart.title and chart.caption for chart in charts)
    return [chart.name for chart in charts]


def test_what_has_no_samples_is_not_drawn() -> None:
    assert names(empty()) == []


def test_a_steady_load_has_no_saturation() -> None:
    assert names(run_of([call(n * 10, 20 + n) for n in range(50)])) == OF_A_STEADY_LOAD


def test_a_single_job_is_enough() -> None:
    assert names(run_of([call(0, 20)])) == OF_A_STEADY_LOAD


def test_a_ramp_with_errors_has_all_charts() -> None:
    calls = [call(n * 10, 20 + n % 7, "SERVER_BUSY" if n > 250 else "") for n in range(380)]
    assert set(names(run_of(calls, ramp()))) == {*OF_A_STEADY_LOAD, "saturation", "errors"}


def test_errors_alone_can_be_drawn() -> None:
    run = run_of([call(0, 1, "JOB_TIMEOUT")], ramp(), looks=[], inside=None)
    assert names(run) == ["saturation", "over-time", "errors"]
