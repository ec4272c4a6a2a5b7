"""All benchmarks, each with its settings: what `scripts/bench` offers and `scripts/bench all` runs.

Each measures, and returns one `Result`.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from native_bench import (
    dispatch,
    end_to_end,
    few_nodes,
    growth,
    idle,
    kernels,
    latency,
    readers,
    readers_plan,
    readers_result,
    start,
    suites,
)
from native_bench.results import Result

Tell = Callable[[str], object]


class Benchmark(Struct, frozen=True):
    """One of them. `settings` may be replaced field by field; `quick` only shows that it works."""

    name: str
    module: ModuleType
    measure: Callable[[Any, Tell], Result]
    settings: Struct
    quick: Struct

    @property
    def about(self) -> str:
        """What it measures and what its bias is."""
        return self.module.__doc__ or ""


def _of(name: str, module: ModuleType, **quick: object) -> Benchmark:
    settings = module.Settings()
    return Benchmark(name, module, module.measure, settings, replace(settings, **quick))


def _all() -> Iterator[Benchmark]:
    yield _of("dispatch", dispatch, nodes=(100, 1_000), jobs=20_000, rounds=2)
    yield Benchmark(
        "readers",
        readers,
        readers_result.measure,
        readers_plan.Settings(),
        readers_plan.Settings(nodes=100, windows=1, minutes_max=1.0, window_seconds=1.0),
    )
    yield _of("end-to-end", end_to_end, nodes=100, sessions=50, rounds=1, seconds=1.0)
    yield _of("few-nodes", few_nodes, nodes=10, sessions=20, rounds=1, seconds=1.0)
    yield _of("growth", growth, nodes=(100, 1_000), rounds=1, idle_seconds=2.0, seconds=1.0)
    yield _of("latency", latency, nodes=100, sessions=50, rounds=1, seconds=2.0)
    yield _of(
        "idle",
        idle,
        more_sessions=500,
        more_nodes=200,
        settle_seconds=2.0,
        rounds=1,
        held_sessions=2_000,
        held_nodes=100,
        hold_seconds=5.0,
        go_seconds=1.0,
    )
    yield _of("start", start, starts=2)
    yield _of("kernels", kernels, rounds=1)
    yield _of("suites", suites, full=False, rivals=False, seconds_max=0.02)


BENCHMARKS = {benchmark.name: benchmark for benchmark in _all()}
"""By name, in the order in which they run."""
