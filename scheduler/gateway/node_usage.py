"""What a node's heartbeats say of its load, written where the dispatcher reads it."""

import math

from scheduler.memory.views import Views
from scheduler.protocol.ids import slot_of
from scheduler.protocol.node import ResourceUsage

_PERCENT_MAX = 100.0
_JOBS_MAX = 1 << 20


class NodeUsage:
    """The gateway's columns of the node table. A gateway writes only rows of nodes it holds."""

    def __init__(self, views: Views) -> None:
        self._ref = views.cells("nodes", "usage_ref")
        self._heartbeat_ns = views.cells("nodes", "heartbeat_ns")
        self._held = views.cells("nodes", "held")
        self._external_jobs = views.cells("nodes", "external_jobs")
        self._cpu = views.column("nodes", "cpu_percent")
        self._gpu = views.column("nodes", "gpu_percent")
        self._gpu_memory = views.column("nodes", "gpu_memory_percent")
        self._memory = views.column("nodes", "memory_percent")

    def start(self, ref: int, now_ns: int) -> None:
        """Begin a row with no load, before the node's first heartbeat."""
        slot = slot_of(ref)
        self._cpu[slot] = self._gpu[slot] = self._gpu_memory[slot] = self._memory[slot] = 0
        self._external_jobs[slot] = self._held[slot] = 0
        self._heartbeat_ns[slot] = now_ns
        self._ref[slot] = ref

    def hold(self, ref: int, attempts: int) -> None:
        """Write how many attempts the node works on."""
        self._held[slot_of(ref)] = attempts

    def write(self, ref: int, usage: ResourceUsage, in_flight: int, now_ns: int) -> None:
        """Write a heartbeat's figures; `in_flight` are our own jobs on the node at this moment."""
        slot = slot_of(ref)
        self._cpu[slot] = _percent(usage.cpu_percent)
        self._gpu[slot] = _percent(usage.gpu_percent)
        self._gpu_memory[slot] = _percent(usage.gpu_mem_percent)
        self._memory[slot] = _percent(usage.mem_percent)
        self._external_jobs[slot] = min(max(0, usage.running_jobs - in_flight), _JOBS_MAX)
        self._heartbeat_ns[slot] = now_ns


def _percent(figure: float | None) -> float:
    """Return what operators are shown; a figure out of range is judged elsewhere."""
    if figure is None or math.isnan(figure):
        return 0.0
    return min(max(0.0, figure), _PERCENT_MAX)
