"""Measures what a rival takes beside what we take, in turns, so that both have the same machine."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.sizes import RIVALS, sized

_TURNS = sized(21, 3)
_TURN_SECONDS = sized(0.002, 0.0001)

T = TypeVar("T")


def beside(benchmark: BenchmarkFixture, ours: Callable[[], T], **rivals: Callable[[], object]) -> T:
    """Benchmark `ours`; return what it returned.

    `extra_info` gets a `ratio_to_<rival>` for each rival: our time by the rival's, medians over
    turns, below 1 where we are faster.
    """
    result: T = benchmark(ours)
    for name, rival in rivals.items():
        rival()
        if benchmark.enabled and RIVALS:
            benchmark.extra_info[f"ratio_to_{name}"] = round(_ratio(ours, rival), 3)
    return result


def _ratio(ours: Callable[[], object], rival: Callable[[], object]) -> float:
    calls = [max(1, round(_TURN_SECONDS / _seconds(each, 1))) for each in (ours, rival)]
    turns = [
        (_seconds(ours, calls[0]) / calls[0], _seconds(rival, calls[1]) / calls[1])
        for _ in range(_TURNS)
    ]
    return statistics.median(t[0] for t in turns) / statistics.median(t[1] for t in turns)


def _seconds(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start
