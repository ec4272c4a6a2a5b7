"""What the scheduler's memory and the kernel say while the readers' benchmark runs."""

import os
import time
from pathlib import Path

from msgspec import Struct

from native_bench.costs import core_times
from scheduler.memory.histogram import percentile_ns
from scheduler.memory.layout import GATEWAY_LATENCY
from scheduler.memory.views import Views

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cpu(Struct, frozen=True):
    """Share of one core that a process had, and share of the time that it waited for one."""

    used: float
    waited: float


class Look:
    """One moment. Figures are of the time since an earlier one."""

    def __init__(self, views: Views, pids: dict[str, int]) -> None:
        """`pids` are those of all processes of the benchmark, by names for people."""
        block = GATEWAY_LATENCY.name
        self.time_ns = time.monotonic_ns()
        self.stages = {
            column.name.removesuffix("_ns"): views.column(block, column.name).sum(axis=0)
            for column in GATEWAY_LATENCY.columns
        }
        self.core_times = {name: core_times(pid) for name, pid in pids.items()}
        self.busy_ns = _busy_ns()

    def stages_p99_ms(self, since: "Look") -> dict[str, float]:
        """Return the 99th percentiles of the scheduler's histograms by their names."""
        return {
            name: round(percentile_ns(counts - since.stages[name], 0.99) / 1e6, 3)
            for name, counts in self.stages.items()
        }

    def cpu(self, since: "Look") -> dict[str, Cpu]:
        """Return what each process of the benchmark had of the cores."""
        passed_ns = self.time_ns - since.time_ns
        return {
            name: Cpu(
                round((now.ran_ns - since.core_times[name].ran_ns) / passed_ns, 4),
                round((now.waited_ns - since.core_times[name].waited_ns) / passed_ns, 4),
            )
            for name, now in self.core_times.items()
        }

    def others_used(self, since: "Look") -> float:
        """Return the share of one core that everything else had, the machine's host too.

        The kernel counts it in ticks; on an idle machine it comes out a few percent around 0.
        """
        ours_ns = sum(
            now.ran_ns - since.core_times[name].ran_ns for name, now in self.core_times.items()
        )
        others_ns = self.busy_ns - since.busy_ns - ours_ns
        return round(others_ns / (self.time_ns - since.time_ns), 4)


def _busy_ns() -> int:
    """Return how long the cores of this machine were busy, or taken away by its host."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) * 10**9 // _TICKS_PER_SECOND
