"""Outlier ejection: a node that fails job after job gets none for a while, then few, then all.

    serving ──consecutive_failures──► ejected ──its time is over──► slow start ──► serving
                                         ▲                              │
                                         └──────── fails again ─────────┘

The time doubles with each ejection that follows soon. At most a share of the ready nodes is
ejected at once: where most fail, it is not the nodes. What the client caused does not count, and
a session paired with a node is not kept from it.
"""

from collections.abc import Callable

import numpy as np

from scheduler.config import OutlierEjectionSettings
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.settings import nanoseconds
from scheduler.dispatch.tables import Tables
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.status import Status

AT_FAULT = frozenset(
    {
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.NODE_OVERLOADED,
        ErrorCode.NODE_UNAVAILABLE,
        ErrorCode.MODEL_LOAD_FAILED,
        ErrorCode.MODEL_CORRUPTED,
        ErrorCode.MODEL_VERIFY_FAILED,
        ErrorCode.NMT_TIMEOUT,
        ErrorCode.TTS_TIMEOUT,
    }
)
"""Codes of a node that speak against it. MODEL_NOT_AVAILABLE has marks of its own; codes that
nodes make up may well mean the audio."""

_DOUBLINGS_MAX = 32


class Ejections:
    """Counts failures in a row; withholds and gives back the nodes' slots."""

    def __init__(
        self,
        settings: OutlierEjectionSettings,
        tables: Tables,
        placement: Placement,
        counts: Counts,
        note: Callable[[str, str], None],
    ) -> None:
        """`note(kind, text)` keeps events for operators."""
        self._failures_max = settings.consecutive_failures
        self._base_ns = nanoseconds(settings.base_ejection_seconds)
        self._longest_ns = nanoseconds(settings.max_ejection_seconds)
        self._slow_start_ns = nanoseconds(settings.slow_start_seconds)
        self._percent_max = settings.max_ejected_percent
        self._columns = tables.nodes
        self._placement = placement
        self._counts = counts
        self._note = note
        self._ejected: dict[int, Node] = {}
        self._starting: dict[int, Node] = {}
        """Nodes in slow start; both by reference."""

    def failed(self, node: Node, now_ns: int) -> None:
        """Count a failure that is the node's own; the caller counts successes."""
        node.failures += 1
        if not self._failures_max or node.failures < self._failures_max:
            return
        if node.ref not in self._ejected and self._may_eject():
            self._eject(node, now_ns)

    def _may_eject(self) -> bool:
        ready = int(np.count_nonzero(self._columns.status == Status.READY))
        allowed = max(ready * self._percent_max // 100, 1 if ready > 1 else 0)
        return len(self._ejected) < allowed

    def _eject(self, node: Node, now_ns: int) -> None:
        calm_ns = now_ns - node.ejected_until_ns
        node.ejections = max(0, node.ejections - calm_ns // self._longest_ns) + 1
        doublings = min(node.ejections - 1, _DOUBLINGS_MAX)
        node.ejected_until_ns = now_ns + min(self._base_ns << doublings, self._longest_ns)
        self._starting.pop(node.ref, None)
        self._ejected[node.ref] = node
        self._counts.ejections_total += 1
        self._columns.ejections_total[node.slot] += 1
        seconds = (node.ejected_until_ns - now_ns) / 1e9
        self._note(
            "ejection", f"{node.node_id} failed {node.failures} in a row: none for {seconds:g} s"
        )
        self.fit(node, now_ns)

    def refresh(self, now_ns: int) -> list[Node]:
        """Follow the time; return the nodes that have more slots than before."""
        for node in [n for n in self._ejected.values() if n.ejected_until_ns <= now_ns]:
            del self._ejected[node.ref]
            self._starting[node.ref] = node
            node.failures = 0
            self._note("ejection", f"{node.node_id} gets jobs again, few at first")
        starting = list(self._starting.values())
        for node in starting:
            self.fit(node, now_ns)
            if not node.withheld:
                del self._starting[node.ref]
        self._counts.ejected_nodes = len(self._ejected)
        return starting

    def fit(self, node: Node, now_ns: int) -> None:
        """Withhold what the node's state asks for; also when its capacity has changed."""
        node.withheld = self._withheld(node, now_ns)
        self._columns.withheld[node.slot] = node.withheld
        self._placement.rescore(node)

    def _withheld(self, node: Node, now_ns: int) -> int:
        if node.ref in self._ejected:
            return node.capacity
        if node.ref not in self._starting or not self._slow_start_ns:
            return 0
        given = node.capacity * (now_ns - node.ejected_until_ns) // self._slow_start_ns
        return max(0, node.capacity - max(1, given))

    def forget(self, node: Node) -> None:
        """Drop what is known of a node that leaves the table."""
        self._ejected.pop(node.ref, None)
        self._starting.pop(node.ref, None)
