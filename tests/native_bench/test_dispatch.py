"""What the dispatch benchmark's table says; that it works shows tests/benchmarks."""

from native_bench.dispatch import PROGRAMS, Sample, Settings, make_report


def test_all_columns_are_medians_of_the_rounds() -> None:
    samples = [
        Sample(program, 50, 1_000, cpu_seconds, wall_seconds)
        for program in PROGRAMS
        for cpu_seconds, wall_seconds in ((0.001, 0.01), (0.002, 0.02), (0.008, 0.08))
    ]
    [table] = make_report(Settings(nodes=(50,), rounds=3), samples).tables
    assert table.rows == [("50", "500,000", "500,000", "100%", "50,000")]
    assert table.headings[-1] == "dispatcher, jobs/s by the clock"
    assert table.note.startswith("medians over 3 rounds")
