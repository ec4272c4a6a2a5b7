"""The readers' benchmark as a `Result`; its raw times, over a hundred thousand, as histograms."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from native_bench import readers
from native_bench.readers_looks import Cpu
from native_bench.readers_plan import ASKING, Settings
from native_bench.readers_report import Report, Sample, Times, doubts, ratio_to_none, tables
from native_bench.results import Result, make_result

_EDGES_MS = np.logspace(-2, 4, 121)
"""Twenty buckets for each power of ten, from 10 µs to 10 s."""


class Window(Struct, frozen=True):
    """One window, without its raw times: counts of the jobs' by the buckets' lower ends in ms."""

    form: str
    jobs: Times
    requests: Times
    stages_p99_ms: dict[str, float]
    cpu: dict[str, Cpu]
    others_used: float
    job_ms: dict[str, int]


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run all windows; see `readers.measure`."""
    return as_result(readers.measure(settings, tell))


def as_result(report: Report) -> Result:
    """Return what a run came to."""
    moves = [
        abs(ratio_to_none(report, form, lambda s: s.jobs.p99_ms)[0] - 1)
        for form in ASKING
        if report.of(form)
    ]
    return make_result(
        "readers",
        settings=report.settings,
        figures={"p99_moves": max(moves)} if moves else {},
        tables=tables(report),
        doubts=list(doubts(report)),
        samples=[_window(sample) for sample in report.samples],
    )


def _window(sample: Sample) -> Window:
    counts, _ = np.histogram(sample.job_ms, _EDGES_MS)
    return Window(
        sample.form,
        sample.jobs,
        sample.requests,
        sample.stages_p99_ms,
        sample.cpu,
        sample.others_used,
        {f"{low:.3g}": int(n) for low, n in zip(_EDGES_MS, counts, strict=False) if n},
    )
