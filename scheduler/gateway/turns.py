"""Has the long messages of a gateway's peers wait for each other, so that all else goes on.

A turn of the loop takes all that can be read by then, before any timer runs and any answer leaves.
Long messages that many peers have sent at once, up to their last byte, would be decoded in one go.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

TURN_NS_MAX = 5_000_000
"""Those that wait are taken for so long in a turn, and one at least."""


class Turns:
    """A queue: first come, first served."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on`, in the next turn of the loop at the earliest."""
        self._waiting.append(go_on)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        self._is_scheduled = False
        end_ns = time.monotonic_ns() + TURN_NS_MAX
        try:
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()
                if time.monotonic_ns() > end_ns:
                    break
        finally:  # whatever became of one, the others wait still
            if self._waiting:
                self._schedule()
