"""What the kernel says of this machine and of single processes, from /proc alone.

Nothing here reads what the kernel must lock a process's memory for (`cmdline`, `maps`): that
would hang with a process that hangs.
"""

import os
import platform
import re
import resource
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from scheduler.bundle.blocks import Document

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_FILE_BYTES_MAX = 16 << 10

_DISTRIBUTION = "lingua-scheduler"
_LIMITS = ("AS", "CORE", "DATA", "MEMLOCK", "NOFILE", "NPROC", "STACK")
_MEMORY = ("MemTotal", "MemAvailable", "Shmem", "SwapTotal", "SwapFree", "Committed_AS")
_STATUS = (
    *("State", "Threads", "VmRSS", "VmHWM", "RssShmem", "VmSwap", "Cpus_allowed_list"),
    *("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"),
)
_CGROUP_FILES = (
    *("memory.max", "memory.current", "memory.peak", "memory.events"),
    *("cpu.max", "cpu.stat", "pids.max", "pids.current"),
)


def machine(supervisor_pid: int) -> Document:
    """Return kernel, Python, cores, memory, limits; those of the control group of the supervisor.

    What can't be read is null or missing. The machine's name is left out.
    """
    system = os.uname()
    return {
        "kernel": f"{system.sysname} {system.release} {system.version} {system.machine}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": _packages(),
        "cores": os.cpu_count(),
        "cores_allowed": sorted(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "uptime_s": _first_number(_read(_PROC / "uptime")),
        "memory": _fields(_PROC / "meminfo", _MEMORY),
        "pressure": {
            name: lines.splitlines()
            for name in ("cpu", "io", "memory")
            if (lines := _read(_PROC / "pressure" / name))
        },
        "limits": {
            name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in _LIMITS
        },
        "cgroup": _cgroup(supervisor_pid),
    }


def process(pid: int) -> Document:
    """Return what the kernel says of a process; little or nothing of one that is gone."""
    folder = _PROC / str(pid)
    try:
        open_files = len(os.listdir(folder / "fd"))
    except OSError:
        open_files = None
    return {
        **_fields(folder / "status", _STATUS),
        "open_files": open_files,
        "limit_open_files": _open_files_limit(folder),
        "waits_in": _read(folder / "wchan"),
        "oom_score_adj": _first_number(_read(folder / "oom_score_adj")),
    }


def _open_files_limit(folder: Path) -> str | None:
    for line in _read(folder / "limits").splitlines():
        if line.startswith("Max open files"):
            return line.split()[3]
    return None


def _cgroup(pid: int) -> Document:
    """Return the limits and events of a process's control group, where it has one of version 2.

    `memory.events` tells whether the kernel killed somebody for want of memory.
    """
    for line in _read(_PROC / str(pid) / "cgroup").splitlines():
        if line.startswith("0::/"):
            folder = _CGROUPS / line.removeprefix("0::/")
            found = {name: _read(folder / name) for name in _CGROUP_FILES}
            return {name: text.splitlines() for name, text in found.items() if text}
    return {}


def _fields(path: Path, wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a file of `Name:   value` lines."""
    pairs = (line.partition(":") for line in _read(path).splitlines())
    return {name: " ".join(value.split()) for name, _, value in pairs if name in wanted}


def _read(path: Path) -> str:
    """Return the beginning of a file of the kernel, "" where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX).decode(errors="replace").strip()
    except OSError:
        return ""


def _first_number(text: str) -> float | None:
    return float(text.split(maxsplit=1)[0]) if text else None


def _packages() -> dict[str, str | None]:
    """Return the versions of the packages that this program needs, None where one is missing."""
    found: dict[str, str | None] = {}
    with suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires(_DISTRIBUTION) or ():
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            found[name] = None
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found
