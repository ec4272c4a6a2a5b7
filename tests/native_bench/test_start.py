"""The benchmark of the start in small, and what its verdict rests on."""

from native_bench.start import Sample, Settings, make_report, measure


def test_starts_are_timed() -> None:
    report = measure(Settings(starts=1, gateways=(1,)))
    [sample] = report.samples
    assert sample["ready_seconds"] > 0
    assert report.figures == {"ready_seconds": sample["ready_seconds"]}


def test_the_median_with_the_first_number_of_gateways_counts() -> None:
    samples = [Sample(1, seconds) for seconds in (0.9, 1.0, 3.0)]
    samples += [Sample(2, seconds) for seconds in (5.0, 6.0, 7.0)]
    assert make_report(Settings(), samples).figures == {"ready_seconds": 1.0}
