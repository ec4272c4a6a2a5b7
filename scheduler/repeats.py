"""Decides which of many equal events are worth a line; no clock."""

from dataclasses import dataclass
from typing import NamedTuple

ADMITTED_MAX = 5
WINDOW_NS = 10_000_000_000
"""Within it, `ADMITTED_MAX` events of one key are admitted, then only counted."""

KEYS_MAX = 1_000
"""Events come from places in the code, so there are few; what is beyond this isn't counted."""


class Suppressed(NamedTuple):
    """Events of one key that were not admitted in the window that has ended."""

    key: str
    left_out: int


@dataclass(slots=True)
class _Window:
    started_ns: int
    seen: int = 0


class Repeats:
    """Counts events by key. Times are monotonic, in ns."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def admit(self, key: str, now_ns: int) -> bool:
        """Return whether this event gets its line. Call `ended` first: it closes old windows."""
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= KEYS_MAX:
                return True
            window = self._windows[key] = _Window(now_ns)
        window.seen += 1
        return window.seen <= ADMITTED_MAX

    def ended(self, now_ns: int, *, all_windows: bool = False) -> list[Suppressed]:
        """Close the windows that have passed, or all; return what they suppressed."""
        closed = [
            (key, window)
            for key, window in self._windows.items()
            if all_windows or now_ns - window.started_ns >= WINDOW_NS
        ]
        for key, _ in closed:
            del self._windows[key]
        return [
            Suppressed(key, window.seen - ADMITTED_MAX)
            for key, window in closed
            if window.seen > ADMITTED_MAX
        ]
