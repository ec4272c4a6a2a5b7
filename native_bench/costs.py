"""What the kernel says that processes have used."""

import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_CLOCK_OF_CPU = 2
"""The last bits of the number of a process's clock: all that its threads ran."""


class CoreTimes(Struct, frozen=True):
    """What a process had of the cores: how long it ran, and waited although it could have run.

    `slices` is how often it was given a core.
    """

    ran_ns: int
    waited_ns: int
    slices: int


def core_times(pid: int) -> CoreTimes:
    """Return what the threads that a process has now had of the cores, from their start on."""
    totals = [0, 0, 0]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        fields = (thread / "schedstat").read_text().split()
        totals = [total + int(field) for total, field in zip(totals, fields, strict=True)]
    return CoreTimes(*totals)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, in user and kernel mode.

    It is the kernel's own clock of the process, in ns; /proc/PID/stat has it in ticks of 10 ms.
    The clock's number is what clock_getcpuclockid(3) returns, which Python doesn't offer.
    """
    return time.clock_gettime(~pid << 3 | _CLOCK_OF_CPU)


class CpuWatch:
    """The CPU time of some processes since a moment."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Begin now."""
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def used(self) -> dict[str, float]:
        """Return the CPU seconds since, by process."""
        return {
            name: round(cpu_seconds(pid) - self._before[name], 6)
            for name, pid in self._pids.items()
        }


class CoreWatch:
    """What some processes have had of the cores since a moment."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Begin now."""
        self._pids = pids
        self._before = {name: core_times(pid) for name, pid in pids.items()}

    def times(self) -> dict[str, CoreTimes]:
        """Return it, by process."""
        found = {}
        for name, pid in self._pids.items():
            before, now = self._before[name], core_times(pid)
            found[name] = CoreTimes(
                now.ran_ns - before.ran_ns,
                now.waited_ns - before.waited_ns,
                now.slices - before.slices,
            )
        return found


def memory_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Return the memory of some processes: `rss` counts shared pages in each, `pss` once in all."""
    totals = {"rss": 0, "pss": 0}
    for pid in pids.values():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.lower() in totals:
                totals[name.lower()] += int(rest.split()[0]) << 10
    return totals
