"""What the kernel says of a process."""

import os
from pathlib import Path
from typing import NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# Fields of /proc/PID/stat counted from the one after the command's name; see proc(5).
_UTIME, _STIME, _RSS = 11, 12, 21


class Usage(NamedTuple):
    """Physical memory, and processor time since the start of the process."""

    resident_bytes: int
    cpu_seconds: float


def read_usage(pid: int) -> Usage | None:
    """Return what a process uses, None where there is none of that number."""
    if pid <= 0:
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces and brackets
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return Usage(int(fields[_RSS]) * _PAGE_BYTES, ticks / _TICKS_PER_SECOND)
