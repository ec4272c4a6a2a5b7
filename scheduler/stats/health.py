"""Which processes live and serve, judged by what each writes from its own main loop."""

from scheduler.ipc.boot import ChildId
from scheduler.memory.layout import SUPERVISOR_ROW
from scheduler.memory.views import Views
from scheduler.stats.schema import ProcessHealth

PULSE_FRESH_NS = 2_000_000_000
"""A process that has not shown life for so long is stuck or gone."""

STALE_REFRESHES = 3
"""A snapshot that missed so many refreshes makes the scheduler not ready."""


class HealthReader:
    """Reads the rows of all processes; cheap enough for every request."""

    def __init__(self, views: Views, gateways: int) -> None:
        children = [ChildId("dispatcher"), ChildId("stats")]
        children += [ChildId("gateway", index) for index in range(gateways)]
        self._ids: list[tuple[str, int, int]] = [
            ("supervisor", 0, SUPERVISOR_ROW),
            *((child.role, child.index, child.row) for child in children),
        ]
        self._pid = views.column("processes", "pid")
        self._restarts = views.column("processes", "restarts")
        self._started_ns = views.column("processes", "started_ns")
        self._heartbeat_ns = views.column("pulses", "heartbeat_ns")
        self._loop_lag_max_ns = views.column("pulses", "loop_lag_max_ns")
        self._slow_paths = views.column("pulses", "slow_paths_total")
        self._ready = views.column("pulses", "ready")

    def labels(self) -> list[tuple[str, str]]:
        """Return role and index of each row, as text."""
        return [(role, str(index)) for role, index, _ in self._ids]

    def read(self, now_ns: int) -> list[ProcessHealth]:
        """Return the processes in the order of their rows; `now_ns` is monotonic."""
        return [self._read_row(role, index, row, now_ns) for role, index, row in self._ids]

    def _read_row(self, role: str, index: int, row: int, now_ns: int) -> ProcessHealth:
        pid = int(self._pid[row])
        heartbeat_ns = int(self._heartbeat_ns[row])
        if heartbeat_ns < int(self._started_ns[row]):
            heartbeat_ns = 0  # by a process before this one, as is all else in the row
        age_ns = max(0, now_ns - heartbeat_ns)
        return ProcessHealth(
            role=role,
            index=index,
            pid=pid,
            fresh=pid > 0 and heartbeat_ns > 0 and age_ns < PULSE_FRESH_NS,
            ready=heartbeat_ns > 0 and bool(self._ready[row]),
            restarts=int(self._restarts[row]),
            heartbeat_age_ms=age_ns // 1_000_000 if heartbeat_ns else None,
            loop_lag_max_ms=int(self._loop_lag_max_ns[row]) / 1e6,
            slow_paths_total=int(self._slow_paths[row]),
        )


def missing(
    processes: list[ProcessHealth], snapshot_age_ns: int, refresh_seconds: float
) -> list[str]:
    """Return what keeps the scheduler from being ready, for people; nothing when it is."""
    problems = [text for process in processes if (text := _problem_of(process))]
    age_seconds = snapshot_age_ns / 1e9
    if age_seconds >= STALE_REFRESHES * refresh_seconds:
        problems.append(f"snapshot: {age_seconds:.1f} s old")
    return problems


def _problem_of(process: ProcessHealth) -> str:
    name = f"gateway {process.index}" if process.role == "gateway" else process.role
    if process.pid == 0:
        return f"{name}: not running"
    if process.heartbeat_age_ms is None:
        return f"{name}: starting"
    if not process.fresh:
        return f"{name}: no heartbeat for {process.heartbeat_age_ms} ms"
    if not process.ready:
        return f"{name}: not serving yet"
    return ""
