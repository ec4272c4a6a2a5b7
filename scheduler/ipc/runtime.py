"""What every child process does with itself: how it starts, that it dies, how it shows life."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import structlog

from scheduler.errors import ChannelError, SchedulerError
from scheduler.ipc.boot import BOOT_FAILURE_EXIT, BootSpec
from scheduler.ipc.control import REASON_CHARS_MAX, BootFailed, Control
from scheduler.logs import configure_logging, flush_repeats
from scheduler.memory.views import Views

BEAT_INTERVAL_MS = 100
"""Time between heartbeats of a process that has nothing to do."""

TIMERLESS_NS_MAX = 60_000_000_000
"""No turn of a loop takes so long, whatever peers send at once: its timers are broken."""

_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_COLLECT_AFTER = (5_000, 200, 10)
"""New objects, in each generation of the collector so many times those of the one before.

The young are looked through in half a millisecond, the others once a million more objects live
than before: with 200 times fewer, the requests that sessions remember for ten seconds made every
start under load stand still for 60 ms.
"""
LAG_HALF_NS = 30_000_000_000
"""The longest cycle is that of the present half of a minute and of the one before: an old stall
must not hide how it is now."""

_WARN_INTERVAL_NS = 1_000_000_000
_FLUSH_INTERVAL_NS = 1_000_000_000

logger = structlog.get_logger(__name__)


def enter_child(boot: BootSpec) -> None:
    """Make this process a child of the supervisor; call before anything else.

    It dies with the supervisor, runs on its own cores, logs under its name, and leaves signals
    from terminal or service manager to the supervisor, which decides when the child ends.
    Raises SystemExit when the supervisor is gone already.
    """
    die_with(boot.supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.sched_setaffinity(0, boot.cores)
    configure_logging(boot.config.observability, str(boot.child))


def die_with(supervisor_pid: int) -> None:
    """Be killed when the supervisor, this process's parent, ends; exit when it is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != supervisor_pid:  # it died before prctl could tell
        sys.exit(1)


@contextmanager
def booting(control: Control) -> Iterator[None]:
    """Make what goes wrong inside a boot failure: no restart would help."""
    try:
        yield
    except (SchedulerError, OSError) as error:
        fail_boot(control, str(error))


def fail_boot(control: Control, reason: str) -> NoReturn:
    """Tell the supervisor why this child can't start, and exit."""
    try:
        control.send(BootFailed(reason[:REASON_CHARS_MAX]))
    except ChannelError:
        logger.exception("boot failure not reported", reason=reason)
    control.close()
    sys.exit(BOOT_FAILURE_EXIT)


def resident_bytes() -> int:
    """Return this process's physical memory, shared memory that it has touched included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def freeze_heap() -> None:
    """Take what was made at start out of the garbage collector's sight, and have it look rarely.

    Next to nothing here is in cycles; with the interpreter's 700 new objects the collector ran
    for every few dozen jobs, and took an eighth of a loaded gateway's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


class Pulse:
    """This process's row of `pulses`; to be called from its main loop only.

    A heartbeat from any other thread would go on while the loop is stuck.
    """

    def __init__(self, views: Views, row: int, path_warn_ms: int) -> None:
        """`row` is that of the `pulses` block; what a process before this one left is cleared."""
        self._row = views.counters("pulses", row)
        self._warn_ns = path_warn_ms * 1_000_000
        self._last_ns = 0
        self._warned_ns = 0
        self._flushed_ns = 0
        self.due_ns = 0
        """When the next sign of life is overdue."""
        self._lag_ns = 0
        self._half_ends_ns = 0
        self._row.set("ready", 0)
        self._row.set("loop_lag_max_ns", 0)

    def beat(self, now_ns: int, interval_ms: int = BEAT_INTERVAL_MS) -> None:
        """Show life from a timer of `interval_ms`; the loop's lag is how late it fires."""
        if self._last_ns:
            self._took(now_ns - self._last_ns - interval_ms * 1_000_000, now_ns)
        self._last_ns = now_ns
        self._live(now_ns)

    def progress(self, now_ns: int) -> None:
        """Show life in the middle of a turn that is long because there is much to do.

        For a loop that beats from a timer; not for one whose timer doesn't fire any more.
        """
        if now_ns - self._last_ns < TIMERLESS_NS_MAX:
            self._live(now_ns)

    def turn(self, woke_ns: int, now_ns: int) -> None:
        """Show life at the end of a turn of a plain loop that began at `woke_ns`."""
        self._took(now_ns - woke_ns, now_ns)
        self._live(now_ns)

    def mark_ready(self) -> None:
        """Show that this process serves."""
        self._row.set("ready", 1)

    def _live(self, now_ns: int) -> None:
        self._row.set("heartbeat_ns", now_ns)
        self.due_ns = now_ns + 2 * BEAT_INTERVAL_MS * 1_000_000
        if now_ns - self._flushed_ns > _FLUSH_INTERVAL_NS:
            self._flushed_ns = now_ns
            flush_repeats()

    def _took(self, took_ns: int, now_ns: int) -> None:
        if now_ns >= self._half_ends_ns:
            self._begin_half(now_ns)
        if took_ns > self._lag_ns:
            self._lag_ns = took_ns
            self._row.raise_to("loop_lag_max_ns", took_ns)
        if took_ns > self._warn_ns:
            self._row.add("slow_paths_total")
            if now_ns - self._warned_ns > _WARN_INTERVAL_NS:
                self._warned_ns = now_ns
                logger.warning("slow loop cycle", took_ms=took_ns // 1_000_000)

    def _begin_half(self, now_ns: int) -> None:
        """Forget the longest cycle of the half minute before the last one."""
        # Nothing came for a whole half: then the last one is too old as well.
        before_ns = self._lag_ns if now_ns - self._half_ends_ns < LAG_HALF_NS else 0
        self._row.set("loop_lag_max_ns", before_ns)
        self._lag_ns = 0
        self._half_ends_ns = now_ns + LAG_HALF_NS
