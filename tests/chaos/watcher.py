"""Looks into the scheduler's memory all the time: processes that come and go, where jobs went."""

from collections.abc import Callable

from scheduler.memory.decisions import node_labels, read_decisions
from scheduler.memory.flight import read_flight
from scheduler.memory.layout import DISPATCHER_ROW
from tests.chaos.check_ejections import EjectionCheck, Placed
from tests.chaos.history import Event, What, now_ns
from tests.chaos.rig import Rig, process_name


class ProcessWatch:
    """Notes when processes of the scheduler die, start and serve."""

    def __init__(self, rig: Rig, note: Callable[[Event], None]) -> None:
        self._rig = rig
        self._note = note
        self._forget()

    def _forget(self) -> None:
        """Begin anew: those of an earlier supervisor died with it, which is noted already."""
        self._cluster = self._rig.cluster
        self._pids = dict.fromkeys(self._rig.rows, 0)
        self._serving = dict.fromkeys(self._rig.rows, False)

    def look(self) -> None:
        """Note what has changed since the last look."""
        if self._cluster is not self._rig.cluster:
            self._forget()
        for row in self._rig.rows:
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

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.check = EjectionCheck()
        self._forget()

    def _forget(self) -> None:
        self._cluster = self._rig.cluster
        self._noted = 0
        self._decided = -1

    def look(self) -> None:
        """Take in what has come since the last look; call it several times a second."""
        if self._cluster is not self._rig.cluster:
            self._forget()
        views = self._cluster._views
        notes = [n for n in read_flight(views, DISPATCHER_ROW) if n.sequence > self._noted]
        decisions = [
            decision
            for decision in read_decisions(views, last=DECISIONS_PER_LOOK_MAX)
            if decision.number > self._decided
        ]
        labels = node_labels(views, [decision.node for decision in decisions])
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
