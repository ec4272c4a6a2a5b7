"""The flight recorder: the last control events of each process, kept in shared memory.

The memory outlives the process, so that the events before a SIGKILL can be read afterwards. A
process that takes over a row goes on in its ring.
"""

import time
from dataclasses import dataclass

import numpy as np

from scheduler.memory.layout import (
    FLIGHT,
    FLIGHT_ENTRIES,
    FLIGHT_KIND_BYTES_MAX,
    FLIGHT_TEXT_BYTES_MAX,
)
from scheduler.memory.views import Views
from scheduler.protocol.text import cut_utf8


@dataclass(frozen=True, slots=True)
class FlightEvent:
    """One event; `time_ns` is monotonic."""

    sequence: int
    time_ns: int
    kind: str
    text: str


class FlightRecorder:
    """Writes the ring of one process; an event takes about a microsecond."""

    def __init__(self, views: Views, row: int) -> None:
        """`row` is that of the `processes` block."""
        ring = _ring(row)
        self._sequence = views.column(FLIGHT.name, "sequence")[ring]
        self._time_ns = views.column(FLIGHT.name, "time_ns")[ring]
        self._kind = views.column(FLIGHT.name, "kind")[ring]
        self._text = views.column(FLIGHT.name, "text")[ring]
        self._next = int(self._sequence.max())

    def note(self, kind: str, text: str) -> None:
        """Keep an event of this moment; what is too long is cut."""
        at = self._next % FLIGHT_ENTRIES
        self._sequence[at] = 0
        self._time_ns[at] = time.monotonic_ns()
        self._kind[at] = cut_utf8(kind, FLIGHT_KIND_BYTES_MAX).encode()
        self._text[at] = cut_utf8(text, FLIGHT_TEXT_BYTES_MAX).encode()
        self._next += 1
        self._sequence[at] = self._next


def read_flight(views: Views, row: int) -> list[FlightEvent]:
    """Return the events of a process, oldest first, without one that is just being written."""
    ring = _ring(row)
    sequence = views.column(FLIGHT.name, "sequence")[ring]
    before = sequence.copy()
    time_ns, kind, text = (
        views.column(FLIGHT.name, name)[ring].copy() for name in ("time_ns", "kind", "text")
    )
    whole = np.flatnonzero((before == sequence) & (before > 0))
    return [
        FlightEvent(
            int(before[at]),
            int(time_ns[at]),
            kind[at].decode(errors="replace"),
            text[at].decode(errors="replace"),
        )
        for at in whole[np.argsort(before[whole])].tolist()
    ]


def _ring(row: int) -> slice:
    return slice(row * FLIGHT_ENTRIES, (row + 1) * FLIGHT_ENTRIES)
