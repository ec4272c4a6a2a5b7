"""The small benchmarks among the tests (`tests/benchmarks`), which pytest-benchmark runs.

Each times one part alone, in one process, again and again; a part and its rivals stand in one
suite. They show which part became slower, not what a job costs.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

from msgspec import Struct

from native_bench.results import Figures, Result, make_result
from native_bench.suite_runs import ROOT, Figure, run_suites, suites_of
from native_bench.suite_runs import Settings as RunSettings

_RATIO = "ratio_to_"
"""What such an entry of a benchmark's extra info begins with."""


class Settings(RunSettings, frozen=True, kw_only=True):
    """How they are run; those of `suites`, all by default."""

    suites: tuple[str, ...] = tuple(suites_of(ROOT))


class Sample(Struct, frozen=True):
    """One of them."""

    name: str
    figure: Figure

    @property
    def suite(self) -> str:
        """The suite that it is part of."""
        return self.name.partition("/")[0]


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run them; raises ProgramError where one fails."""
    samples = []
    for suite in settings.suites:
        tell(suite)
        found = run_suites([suite], settings)
        samples += [Sample(name, figure) for name, figure in found.items()]
    return make_report(settings, samples)


def make_report(settings: Settings, samples: list[Sample]) -> Result:
    """Return what they came to."""
    return make_result(
        "suites",
        settings=settings,
        figures={},
        tables=[
            _table(suite, list(own)) for suite, own in groupby(samples, key=lambda each: each.suite)
        ],
        doubts=[],
        samples=samples,
    )


def _table(suite: str, samples: list[Sample]) -> Figures:
    rows = [
        (
            sample.name.partition("/")[2],
            time_text(sample.figure.median_ns),
            f"{sample.figure.rounds:,}",
            ", ".join(_ratios(sample.figure)) or "—",
        )
        for sample in samples
    ]
    return Figures(
        suite.replace("_", " "), ("benchmark", "median", "rounds", "time by its rivals'"), rows
    )


def _ratios(figure: Figure) -> Iterator[str]:
    for key, ratio in figure.extra_info.items():
        if key.startswith(_RATIO):
            yield f"{ratio:.2f} {key.removeprefix(_RATIO).replace('_', ' ')}"


def time_text(ns: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"
