"""The services of nodes, and how often the dispatcher hears that they changed.

A node may say with every heartbeat that a service comes or goes, thousands of times a second. Each
record about that carries all names, and has the dispatcher fit the node into its classes anew. So
a change after a quiet while is told at once, those that follow it together, when the next is due.
"""

from collections.abc import Callable

from scheduler.gateway.health import ready_services
from scheduler.protocol.node import CapabilityState, InstalledService

TELL_INTERVAL_NS = 250_000_000
"""Least time between two records about one node."""

Tell = Callable[[list[str], list[str]], None]
"""Tells the dispatcher of installed and ready services, ids in order."""


class Services:
    """What one node has, as it said last."""

    def __init__(self, tell: Tell) -> None:
        self.installed: list[str] = []
        """Ids in order."""
        self.state: CapabilityState | None = None
        self._services: list[InstalledService] = []
        self._tell = tell
        self._told: tuple[list[str], list[str]] = ([], [])
        self._told_ns = -TELL_INTERVAL_NS

    def set(self, services: list[InstalledService] | None, state: CapabilityState | None) -> bool:
        """Take over what is given, all of it; return whether anything is another than before."""
        changed = False
        if services is not None and services != self._services:
            self._services = services
            self.installed = sorted({service.service_id for service in services})
            changed = True
        if state is not None and state != self.state:
            self.state = state
            changed = True
        return changed

    def registered(self) -> tuple[list[str], list[str]]:
        """Return installed and ready services for a registration: by that they are told."""
        self._told = self._present()
        return self._told

    def _present(self) -> tuple[list[str], list[str]]:
        return self.installed, sorted(ready_services(self.installed, self.state))

    def tell_if_due(self, now_ns: int) -> bool:
        """Tell what differs from what was told; return whether it is not yet time for that."""
        if now_ns - self._told_ns < TELL_INTERVAL_NS:
            return True
        present = self._present()
        if present != self._told:
            self._told, self._told_ns = present, now_ns
            self._tell(*present)
        return False


class ServiceNews:
    """The nodes whose services changed when it was not yet time to tell of it."""

    def __init__(self) -> None:
        self._waiting: set[Services] = set()

    def changed(self, services: Services, now_ns: int) -> None:
        """Tell of a change, now or later."""
        if services not in self._waiting and services.tell_if_due(now_ns):
            self._waiting.add(services)

    def forget(self, services: Services) -> None:
        """The node has left."""
        self._waiting.discard(services)

    def sweep(self, now_ns: int) -> None:
        """Tell of those for which it is time; call it several times a second."""
        if self._waiting:
            self._waiting = {s for s in self._waiting if s.tell_if_due(now_ns)}
