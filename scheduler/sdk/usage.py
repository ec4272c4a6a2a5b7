"""What this machine is made of and how busy it is, from /proc."""

import os
from pathlib import Path

from msgspec import Struct

from scheduler.protocol.node import Hardware

_KB_PER_GB = 1 << 20


class Usage(Struct):
    """Usage of a node in percent; without a GPU its figures are None."""

    cpu_percent: float
    mem_percent: float
    gpu_percent: float | None = None
    gpu_mem_percent: float | None = None


class MachineUsage:
    """Usage of the whole machine; CPU since the previous call, since boot at first."""

    def __init__(self) -> None:
        self._busy_ticks = 0
        self._total_ticks = 0

    def __call__(self) -> Usage:
        """Return the usage now."""
        return Usage(self._cpu_percent(), _memory_percent())

    def _cpu_percent(self) -> float:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = [int(field) for field in fields]
        total, idle = sum(ticks), ticks[3] + ticks[4]
        busy, elapsed = total - idle - self._busy_ticks, total - self._total_ticks
        self._busy_ticks, self._total_ticks = total - idle, total
        return _percent(busy, elapsed)


def machine_hardware() -> Hardware:
    """Return cores this process may use and memory in whole GB; GPUs are not looked for."""
    memory_gb = round(_memory_kb()["MemTotal"] / _KB_PER_GB)
    return Hardware(len(os.sched_getaffinity(0)), memory_gb)


def _memory_percent() -> float:
    memory = _memory_kb()
    return _percent(memory["MemTotal"] - memory["MemAvailable"], memory["MemTotal"])


def _memory_kb() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(value) for name, value, *_ in fields}


def _percent(part: int, whole: int) -> float:
    # Figures outside 0-100 would make a heartbeat an unhealthy one; kernel counters of virtual
    # machines do run backwards now and then.
    return min(100.0, max(0.0, 100 * part / whole)) if whole > 0 else 0.0
