"""The dispatch benchmark in small, so that it can't rot."""

from native_bench.dispatch import PROGRAMS, measure, median_rate, to_json


def test_both_programs_are_measured_over_real_pipes() -> None:
    samples = measure(nodes=50, jobs=20_000, rounds=1)
    assert {sample.program for sample in samples} == set(PROGRAMS)
    assert all(sample.jobs == 20_000 for sample in samples)
    assert all(median_rate(samples, program) > 0 for program in PROGRAMS)
    assert to_json(samples).count(b"cpu_seconds") == len(samples)
