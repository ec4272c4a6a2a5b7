from pathlib import Path

import pytest

from native_bench.suite_runs import ROOT, Settings, figures_of, run_suites, suite_path, suites_of
from scheduler.errors import ProgramError

SMALL = Settings(seconds_max=0.01, full=False)
FAILING = """
def test_it(benchmark):
    assert benchmark(lambda: 1) == 2
"""


def test_a_suite_comes_to_medians_and_ratios() -> None:
    figures = run_suites(["channel"], SMALL)
    assert {name.partition("[")[0] for name in figures} == {
        "channel/submits",
        "channel/assigns_with_payload",
    }
    for figure in figures.values():
        assert figure.median_ns > 0
        assert figure.rounds >= 1
        assert figure.extra_info["ratio_to_multiprocessing"] > 0


def test_rivals_are_left_out_where_they_are_not_wanted() -> None:
    figures = run_suites(["channel"], Settings(seconds_max=0.01, full=False, rivals=False))
    assert [figure.extra_info for figure in figures.values()] == [{}] * len(figures)


def test_a_suite_that_measures_nothing_comes_to_nothing() -> None:
    assert run_suites(["dispatch"], SMALL) == {}


def test_what_fails_is_shown(tmp_path: Path) -> None:
    path = tmp_path / suite_path("wrong")
    path.parent.mkdir(parents=True)
    path.write_text(FAILING)
    assert suites_of(tmp_path) == ["wrong"]
    with pytest.raises(ProgramError, match="assert 1 == 2"):
        run_suites(["wrong"], SMALL, tmp_path)


def test_names_tell_the_suite_and_the_parameters() -> None:
    fullname = f"{suite_path('core')}::test_tick[1-a::b]"
    stats = '{"median": 2e-6, "rounds": 3, "min": 1e-6}'
    document = f'{{"benchmarks": [{{"fullname": "{fullname}", "stats": {stats}}}]}}'
    [(name, figure)] = figures_of(document.encode()).items()
    assert name == "core/tick[1-a::b]"
    assert figure.median_ns == pytest.approx(2_000)
    assert figure.rounds == 3


def test_all_suites_are_found() -> None:
    assert {"placement", "core", "records", "channel", "layout", "peers"} <= {*suites_of(ROOT)}
