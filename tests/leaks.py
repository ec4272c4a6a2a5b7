"""Finds what a test left behind: child processes, descriptors, shared memory."""

import gc
import os
import secrets
import time
from pathlib import Path

SETTLE_SECONDS_MAX = 2.0
"""Ended threads, transports and processes may need a moment to be gone."""

POLL_SECONDS = 0.02

MARK = "LINGUA_TEST_RUN"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written
_OUR_NAMES = ("psm_", "sem.", "lingua", "scheduler")
"""What multiprocessing or this program would call its segments; others may come and go."""

_HARMLESS = ("/dev/urandom", "/dev/null", "/.hypothesis/")
"""Opened once and kept on purpose, by Python or by hypothesis."""


class LeakCheck:
    """What there was at one moment, to be held against what there is later."""

    def __init__(self) -> None:
        """Look now."""
        self._children = _children()
        self._fds = _fds()
        self._segments = _segments()

    def left(self) -> list[str]:
        """Return what has come since, in words, after giving it time to go."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        left = self._now()
        while left and time.monotonic() < deadline:
            gc.collect()
            time.sleep(POLL_SECONDS)
            left = self._now()
        return left

    def _now(self) -> list[str]:
        fds = _fds()
        return [
            *(f"child process {pid}: {_command(pid)}" for pid in _children() - self._children),
            *(
                f"descriptor {fd}: {target}"
                for fd, target in fds.items()
                if self._fds.get(fd) != target and not any(h in target for h in _HARMLESS)
            ),
            *(f"shared memory {name}" for name in _segments() - self._segments),
        ]


def mark_descendants() -> str:
    """Mark all processes this one starts from now on; return the mark."""
    mark = f"{MARK}={secrets.token_hex(8)}"
    os.environ[MARK] = mark.partition("=")[2]
    return mark


def marked_processes(mark: str, *, except_pid: int) -> list[str]:
    """Return the marked processes that still run, wherever they hang in the tree of processes."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while (found := _find_marked(mark.encode(), except_pid)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return [f"process {pid}: {_command(pid)}" for pid in found]


def _find_marked(mark: bytes, except_pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == except_pid:
            continue
        try:
            # A zombie's is empty.
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it just ended, or is another user's
            continue
    return found


def _children() -> set[int]:
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            children.update(map(int, (task / "children").read_text().split()))
        except OSError:  # the thread just ended
            continue
    return children


def _fds() -> dict[str, str]:
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the one that was listing
            continue
    return fds


def _segments() -> set[str]:
    return {name for name in os.listdir(_SHARED_MEMORY) if name.startswith(_OUR_NAMES)}


def _command(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "(gone)"
    return command.strip() or "(ended, but never waited for)"
