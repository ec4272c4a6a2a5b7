"""What the kernel says that processes have used."""

import os
from collections.abc import Mapping
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


class CpuWatch:
    """The CPU time of some processes since a moment."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Begin now."""
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def used(self) -> dict[str, float]:
        """Return the CPU seconds since, by process."""
        return {
            name: round(cpu_seconds(pid) - self._before[name], 2)
            for name, pid in self._pids.items()
        }


def memory_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Return the memory of some processes: `rss` counts shared pages in each, `pss` once in all."""
    totals = {"rss": 0, "pss": 0}
    for pid in pids.values():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.lower() in totals:
                totals[name.lower()] += int(rest.split()[0]) << 10
    return totals
