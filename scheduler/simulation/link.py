"""The pipes between a gateway and the dispatcher: each record delayed, none overtaken."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from scheduler.simulation.clock import Clock

_STALL_SHARE = 0.01
_STALL_FACTOR = 20


class Pipe:
    """One direction."""

    def __init__(
        self, clock: Clock, rng: Random, delay_ns_max: int, receive: Callable[[Any], None]
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._delay_ns_max = delay_ns_max
        self._receive = receive
        self._under_way: deque[Any] = deque()
        self._due_ns = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, record: Any) -> None:
        """Let `record` arrive after all that were sent before it."""
        delay_ns = self._rng.randrange(self._delay_ns_max)
        if self._rng.random() < _STALL_SHARE:
            delay_ns *= _STALL_FACTOR
        now_ns = self._clock.now_ns
        self._due_ns = max(self._due_ns, now_ns + delay_ns)
        self._under_way.append(record)
        self._clock.after(self._due_ns - now_ns, self._arrive)

    def _arrive(self) -> None:
        if self._under_way:  # else the pipe was cut
            self._receive(self._under_way.popleft())

    def drop(self) -> None:
        """The reader died: nothing under way arrives."""
        self._under_way.clear()

    def cut(self) -> None:
        """The writer died: some of what is under way arrives now, the rest never."""
        arriving = [self._under_way.popleft() for _ in range(self._rng.randint(0, len(self)))]
        self._under_way.clear()
        for record in arriving:
            self._receive(record)


class Link:
    """Both directions between one gateway and one dispatcher process."""

    def __init__(self, to_dispatcher: Pipe, to_gateway: Pipe) -> None:
        self.to_dispatcher = to_dispatcher
        self.to_gateway = to_gateway

    def __len__(self) -> int:
        return len(self.to_dispatcher) + len(self.to_gateway)
