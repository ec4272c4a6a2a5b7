"""Judges a node by its heartbeats.

The dispatcher owns a node's status; the gateway that holds the socket sees the heartbeats. The
monitor therefore knows the status only as it was last told, and signals what the heartbeats say
against it. A signal is repeated with each heartbeat until the status follows, so that one that
is lost with a dying dispatcher does no harm.
"""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from scheduler.config import NodeHealthSettings
from scheduler.protocol.node import ModelStatus, ResourceUsage
from scheduler.protocol.status import Status


class Verdict(NamedTuple):
    """What one heartbeat says.

    `reason` tells why it is unhealthy, "" where it is healthy. `signal` is what the dispatcher
    must hear: "fit" for jobs, "unfit", or None where the node's status may stay as it is.
    """

    healthy: bool
    reason: str
    signal: Literal["fit", "unfit"] | None


class HealthMonitor:
    """The heartbeats of one node since its status last changed."""

    def __init__(self, settings: NodeHealthSettings, status: Status = Status.REGISTERING) -> None:
        self._settings = settings
        self._window: deque[bool] = deque(maxlen=settings.window_size)
        self._run = 0
        self._run_healthy = True
        self._status = status

    def status_changed(self, status: Status) -> None:
        """Learn the dispatcher's decision; what the node showed before counts no more.

        A window that reached back beyond a recovery would degrade the node again at its first
        slip; a node that was drained and resumed must prove its health anew.
        """
        if status is not self._status:
            self._status = status
            self._window.clear()
            self._run = 0

    def heartbeat(
        self,
        usage: ResourceUsage,
        installed: Collection[str],
        state: Mapping[str, ModelStatus] | None,
    ) -> Verdict:
        """Judge a heartbeat.

        `installed` are the ids of the node's services, `state` its last known
        `capability_state`, None where it never sent one.
        """
        reason = _why_unhealthy(usage) or self._why_not_serving(installed, state)
        healthy = not reason
        self._window.append(healthy)
        self._run = self._run + 1 if healthy is self._run_healthy else 1
        self._run_healthy = healthy
        return Verdict(healthy, reason, self._signal(healthy))

    def _signal(self, healthy: bool) -> Literal["fit", "unfit"] | None:
        settings = self._settings
        if self._status is Status.READY and not healthy:
            failures = self._window.count(False)
            if (
                self._run >= settings.consecutive_failure_count
                or failures >= settings.failure_count
            ):
                return "unfit"
        if self._status is Status.DEGRADED and healthy:
            return "fit"
        if (
            self._status is Status.REGISTERING
            and healthy
            and self._run >= settings.health_check_count
        ):
            return "fit"
        return None

    def _why_not_serving(
        self, installed: Collection[str], state: Mapping[str, ModelStatus] | None
    ) -> str:
        if not installed:
            return "no service is installed"
        missing = sorted(set(installed) - ready_services(installed, state))
        if missing and self._status is Status.REGISTERING:
            return f"services are not ready: {', '.join(missing)}"
        if len(missing) == len(set(installed)):
            return "no service is ready"
        return ""


def ready_services(
    installed: Collection[str], state: Mapping[str, ModelStatus] | None
) -> frozenset[str]:
    """Return the installed services that can take work.

    One that `state` leaves out is not ready; without any state all are.
    """
    if state is None:
        return frozenset(installed)
    return frozenset(service for service in installed if state.get(service) == "ready")


def _why_unhealthy(usage: ResourceUsage) -> str:
    figures = {
        "cpu_percent": usage.cpu_percent,
        "mem_percent": usage.mem_percent,
        "gpu_percent": usage.gpu_percent,
        "gpu_mem_percent": usage.gpu_mem_percent,
    }
    for name, percent in figures.items():
        # Written so that NaN fails too.
        if percent is not None and not 0 <= percent <= 100:
            return f"{name} is {percent:g}, outside 0-100"
    return ""
