"""No ejected node gets jobs, but of sessions that are paired with it.

Told from the dispatcher's own records: its decisions, with their times, against its notes of who
was ejected and until when.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from scheduler.memory.decisions import Decision
from scheduler.memory.flight import FlightEvent
from scheduler.protocol.ids import NO_NODE

AMBIGUOUS_NS = 1_000_000_000
"""A decision carries the time at which its turn began, a note that at which it was written: one
that comes so soon before the end of an ejection may in truth come after it."""

_EJECTED = re.compile(r"(\S+) failed \d+ in a row: none for")
_BACK = re.compile(r"(\S+) (?:gets jobs again|forgotten)")


class Placed(NamedTuple):
    """A decision, and the id of its node."""

    decision: Decision
    node_id: str


class EjectionCheck:
    """Takes notes and decisions as they are read, any number at a time."""

    def __init__(self) -> None:
        self._since_ns: dict[str, int] = {}
        self._doubtful: list[Placed] = []
        """Decisions for ejected nodes, until it is clear that the ejection went on."""
        self.ejections_total = 0
        self.found: list[Placed] = []
        """What must not be."""

    def take(self, notes: Iterable[FlightEvent], placed: Iterable[Placed]) -> None:
        """Look at what came since the last call."""
        steps: list[tuple[int, int, FlightEvent | Placed]] = [
            *((note.time_ns, 0, note) for note in notes),
            *((one.decision.time_ns, 1, one) for one in placed),
        ]
        for time_ns, _, step in sorted(steps, key=lambda step: step[:2]):
            self._settle(time_ns)
            if isinstance(step, FlightEvent):
                self._note(step)
            elif step.decision.paired == NO_NODE and step.decision.node != NO_NODE:
                since_ns = self._since_ns.get(step.node_id)
                if since_ns is not None and since_ns < time_ns:
                    self._doubtful.append(step)

    def _note(self, note: FlightEvent) -> None:
        if note.kind == "start":  # a new dispatcher starts without ejections
            self._since_ns.clear()
            self._doubtful.clear()
        elif found := _EJECTED.match(note.text):
            self.ejections_total += 1
            self._since_ns[found[1]] = note.time_ns
        elif found := _BACK.match(note.text):
            self._since_ns.pop(found[1], None)
            self._doubtful = [one for one in self._doubtful if one.node_id != found[1]]

    def _settle(self, now_ns: int) -> None:
        sure = [p for p in self._doubtful if p.decision.time_ns < now_ns - AMBIGUOUS_NS]
        if sure:
            self.found += sure
            self._doubtful = [one for one in self._doubtful if one not in sure]
