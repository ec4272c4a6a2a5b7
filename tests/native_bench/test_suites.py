"""The small benchmarks as a result: a table for each suite, with rivals where there are some."""

import pytest

from native_bench.suite_runs import Figure
from native_bench.suites import Sample, Settings, make_report, measure, time_text


def test_suites_are_run() -> None:
    report = measure(Settings(suites=("splice",), full=False, rivals=False, seconds_max=0.01))
    [table] = report.tables
    assert table.title == "splice"
    assert len(table.rows) == len(report.samples) > 1


def test_each_suite_has_a_table_and_rivals_stand_beside() -> None:
    samples = [
        Sample("core/job[100]", Figure(2_500, 7)),
        Sample("records/batch", Figure(9.5, 1_000, {"ratio_to_struct": 1.234, "jobs": 5})),
    ]
    core, records = make_report(Settings(), samples).tables
    assert core.rows == [("job[100]", "2.5 µs", "7", "—")]
    assert records.rows == [("batch", "9.5 ns", "1,000", "1.23 struct")]


@pytest.mark.parametrize(
    ("ns", "text"), [(1, "1 ns"), (1_000, "1 µs"), (1_234_000, "1.23 ms"), (2e9, "2 s")]
)
def test_times_have_the_unit_that_suits_them(ns: float, text: str) -> None:
    assert time_text(ns) == text
