"""The dispatch benchmark in small, so that it can't rot."""

from native_bench.dispatch import PROGRAMS, Sample, Settings, make_report, measure_size, median_rate


def test_both_programs_are_measured_over_real_pipes() -> None:
    samples = measure_size(nodes=50, jobs=20_000, rounds=1)
    assert {sample.program for sample in samples} == set(PROGRAMS)
    assert all(sample.jobs == 20_000 for sample in samples)
    assert all(median_rate(samples, program) > 0 for program in PROGRAMS)
    report = make_report(Settings(nodes=(50,)), samples)
    assert [sample["jobs"] for sample in report.samples] == [20_000] * len(samples)


def test_the_share_is_of_the_bare_loops_rate() -> None:
    samples = [
        Sample(program, 50, 1_000, cpu_seconds, 1.0)
        for program, cpu_seconds in (("bare loop", 0.001), ("dispatcher", 0.004))
    ]
    figures = make_report(Settings(nodes=(50,)), samples).figures
    assert figures == {"jobs_per_cpu_second_50": 250_000, "share_of_bare_loop_50": 0.25}
