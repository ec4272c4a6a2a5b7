"""Looks into the scheduler's memory all the time: processes that come and go, where jobs went."""

from collections.abc import Callable

from scheduler.memory.decisions import node_labels, read_decisions
from scheduler.memory.flight import read_flight
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from tests.chaos.check_ejections import EjectionCheck, Placed
from tests.chaos.history import Event, What, now_ns
from tests.chaos.rig import process_name
from tests.integration.cluster import Cluster


class ProcessWatch:
    """Notes when processes of the scheduler die, start and serve."""

    def __init__(self, cluster: Cluster, note: Callable[[Event], None]) -> None:
        self._cluster = cluster
        self._note = note
        self.rows = [DISPATCHER_ROW, STATS_ROW]
        self.rows += range(FIRST_GATEWAY_ROW, FIRST_GATEWAY_ROW + cluster.gateways)
        self._pids = dict.fromkeys(self.rows, 0)
        self._serving = dict.fromkeys(self.rows, False)

    def look(self) -> None:
        """Note what has changed since the last look."""
        for row in self.rows:
            pid, before = self._cluster.pid(row), self._pids[row]
            if pid != before:
                self._pids[row] = pid
                self._serving[row] = False
                if before:
                    self._event(row, "died", before)
                if pid:
                    self._event(row, "started", pid)
            if pid and not self._serving[row] and self._cluster.serves(row):
                self._serving[row] = True
                self._event(row, "serves", pid)

    def _event(self, row: int, what: What, pid: int) -> None:
        self._note(Event(now_ns(), process_name(row), what, size=pid))


DECISIONS_PER_LOOK_MAX = 4_000


class PlacementWatch:
    """Reads where jobs went, and which nodes are ejected, before the rings overwrite it."""

    def __init__(self, cluster: Cluster) -> None:
        self._views = cluster._views
        self._noted = 0
        self._decided = -1
        self.check = EjectionCheck()

    def look(self) -> None:
        """Take in what has come since the last look; call it several times a second."""
        notes = [n for n in read_flight(self._views, DISPATCHER_ROW) if n.sequence > self._noted]
        decisions = [
            decision
            for decision in read_decisions(self._views, last=DECISIONS_PER_LOOK_MAX)
            if decision.number > self._decided
        ]
        labels = node_labels(self._views, [decision.node for decision in decisions])
        placed = [
            Placed(decision, label.node_id)
            for decision in decisions
            if (label := labels.get(decision.node)) is not None
        ]
        if notes:
            self._noted = notes[-1].sequence
        if decisions:
            self._decided = decisions[-1].number
        self.check.take(notes, placed)
