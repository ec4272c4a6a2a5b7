"""Looks at the processes, and at the scheduler's shared memory where it runs on this machine."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import (
    DISPATCHER_COUNTERS,
    DISPATCHER_ROW,
    FIRST_GATEWAY_ROW,
    GATEWAY_COUNTERS,
    GATEWAY_LATENCY,
    NODES,
    PROCESSES,
    STATS_ROW,
    SUPERVISOR_ROW,
)
from scheduler.memory.views import Views
from scheduler.protocol.status import Status
from scheduler.stats.proc import read_usage
from scheduler.stress.raw import Inside, Look, NodeLoad

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

HARNESS = "load: this command"

_GATEWAY_COLUMNS = (
    *("jobs_accepted_total", "jobs_completed_total", "jobs_failed_total", "jobs_cancelled_total"),
    *("jobs_refused_total", "results_stale_total", "slow_readers_cut_total"),
    *("messages_rate_limited_total", "bytes_received_total", "bytes_sent_total"),
)
_DISPATCHER_COLUMNS = (
    *("failovers_total", "retries_denied_total", "attempts_timed_out_total"),
    *("pending_timed_out_total", "refused_queue_full_total", "ejections_total"),
    *("audit_freed_total", "nodes_registered_total"),
)


class Watch:
    """Follows one run. `views` are those of the scheduler's memory, None where it is elsewhere."""

    def __init__(self, views: Views | None, pids: Mapping[str, int]) -> None:
        """`pids` are those of the load, by names for people."""
        self._views = views
        self._pids = {**pids, HARNESS: os.getpid()}
        self._busy: NDArray[np.float64] = np.zeros(0)
        self._seen: NDArray[np.int64] = np.zeros(0, np.int64)
        self._before: tuple[dict[str, NDArray[np.int64]], dict[str, int]] | None = None

    def begin(self) -> None:
        """From here on counts what the scheduler did."""
        if self._views is not None:
            self._before = _stages(self._views), _counters(self._views)

    def look(self) -> Look:
        """Look now."""
        pids = self._pids if self._views is None else {**scheduler_pids(self._views), **self._pids}
        usages = {name: read_usage(pid) for name, pid in pids.items()}
        cpu_seconds = {name: usage.cpu_seconds for name, usage in usages.items() if usage}
        if self._views is None:
            return Look(time.monotonic_ns(), cpu_seconds, busy_seconds())
        queued = int(self._views.column(DISPATCHER_COUNTERS.name, "queued")[0])
        load = self._look_at_nodes(self._views)
        return Look(time.monotonic_ns(), cpu_seconds, busy_seconds(), queued, load)

    def inside(self) -> Inside | None:
        """Return what the scheduler did since `begin`."""
        if self._views is None or self._before is None:
            return None
        stages, counters = _stages(self._views), _counters(self._views)
        seen = self._seen > 0
        return Inside(
            {name: (counts - self._before[0][name]).tolist() for name, counts in stages.items()},
            {name: total - self._before[1][name] for name, total in counters.items()},
            (self._busy[seen] / self._seen[seen]).round(4).tolist(),
        )

    def _look_at_nodes(self, views: Views) -> NodeLoad | None:
        column = views.column
        ready = column(NODES.name, "status") == Status.READY
        capacity = np.maximum(column(NODES.name, "capacity"), 1)
        busy = column(NODES.name, "in_flight") / capacity
        if not self._seen.size:
            self._busy, self._seen = np.zeros(ready.size), np.zeros(ready.size, np.int64)
        self._busy[ready] += busy[ready]
        self._seen[ready] += 1
        return node_load(busy[ready])


def node_load(busy: NDArray[np.float64]) -> NodeLoad | None:
    """Return how shares of slots in use are spread, None where there is no node."""
    if not busy.size:
        return None
    figures = np.percentile(busy, (0, 10, 50, 90, 100)).round(4).tolist()
    return NodeLoad(int(busy.size), *figures)


def busy_seconds() -> float:
    """Return how long the cores of this machine were busy, or taken away by its host."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def scheduler_pids(views: Views) -> dict[str, int]:
    """Return the processes of a scheduler by their names."""
    pids = views.column(PROCESSES.name, "pid").tolist()
    return {
        "supervisor": pids[SUPERVISOR_ROW],
        "dispatcher": pids[DISPATCHER_ROW],
        "stats": pids[STATS_ROW],
        **{f"gateway {number}": pid for number, pid in enumerate(pids[FIRST_GATEWAY_ROW:])},
    }


def _stages(views: Views) -> dict[str, NDArray[np.int64]]:
    return {
        column.name.removesuffix("_ns"): views.column(GATEWAY_LATENCY.name, column.name).sum(axis=0)
        for column in GATEWAY_LATENCY.columns
    }


def _counters(views: Views) -> dict[str, int]:
    found = {
        name: int(views.column(GATEWAY_COUNTERS.name, name).sum()) for name in _GATEWAY_COLUMNS
    }
    for name in _DISPATCHER_COLUMNS:
        found[name] = int(views.column(DISPATCHER_COUNTERS.name, name)[0])
    return {name.removesuffix("_total"): total for name, total in found.items()}
