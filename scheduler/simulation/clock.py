"""Virtual time: calls in the order of their due times, equal ones in the order of `after`."""

import heapq
from collections.abc import Callable
from typing import Any

_START_NS = 1_000_000_000_000
"""Any time but zero, at which "never" and "long ago" would look alike."""

Call = tuple[int, int, Callable[..., None], tuple[Any, ...]]


class Clock:
    """Steps from one due call to the next."""

    def __init__(self) -> None:
        self.now_ns = _START_NS
        self.calls_total = 0
        self._calls: list[Call] = []
        self._sequence = 0

    def after(self, delay_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        """Make `call(*arguments)` due in `delay_ns`."""
        self._sequence += 1
        heapq.heappush(self._calls, (self.now_ns + delay_ns, self._sequence, call, arguments))

    def step(self) -> None:
        """Go to the next due call and make it."""
        self.now_ns, _, call, arguments = heapq.heappop(self._calls)
        self.calls_total += 1
        call(*arguments)
