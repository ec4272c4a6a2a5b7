"""Where the bytes of jobs and results lie until they are sent.

With one gateway they stay in its own memory, up to the size that an arena would have. With
several, whoever sends them may be another gateway, so they go into this gateway's arena, and only
where they lie crosses the pipes. The one who put them there frees them: of a job when it is over,
of a result when the gateway that read it says so through the release ring.
"""

from collections import deque

from scheduler.errors import ArenaFull
from scheduler.memory.arena import Arena, ArenaReader
from scheduler.memory.rings import ReleaseRings
from scheduler.memory.views import Counters
from scheduler.protocol.records import ArenaRef


class Payloads:
    """This gateway's arena, and a look into the others'."""

    def __init__(
        self,
        arena: Arena,
        readers: list[ArenaReader],
        rings: ReleaseRings,
        counters: Counters,
        held_bytes_max: int,
    ) -> None:
        self._arena = arena
        self._readers = readers
        self._rings = rings
        self._counters = counters
        self._held_bytes_max = held_bytes_max
        self._held_bytes = 0
        self._unreleased: deque[ArenaRef] = deque()

    def hold(self, size_bytes: int) -> None:
        """Count bytes that stay in the process; raise ArenaFull beyond limits.arena_bytes."""
        if self._held_bytes + size_bytes > self._held_bytes_max:
            self._counters.add("arena_full_total")
            raise ArenaFull(f"{self._held_bytes} bytes are held")
        self._held_bytes += size_bytes
        self._counters.set("payload_bytes", self._held_bytes)

    def let_go(self, size_bytes: int) -> None:
        """Give back what `hold` counted."""
        self._held_bytes -= size_bytes
        self._counters.set("payload_bytes", self._held_bytes)

    @property
    def shared(self) -> bool:
        """Whether there are other gateways that may need the bytes."""
        return len(self._readers) > 1

    def put(self, *parts: bytes) -> ArenaRef:
        """Store the joined parts; raise ArenaFull where there is no room."""
        try:
            ref = self._arena.put(*parts)
        except ArenaFull:
            self._counters.add("arena_full_total")
            raise
        self._counters.set("arena_used_bytes", self._arena.used_bytes)
        return ref

    def free(self, block: int) -> None:
        """Free a block of this gateway's arena."""
        self._arena.free(block)
        self._counters.set("arena_used_bytes", self._arena.used_bytes)

    def fetch(self, ref: ArenaRef) -> bytes | None:
        """Copy out what lies at `ref`, in any gateway's arena; None where it is gone."""
        known = 0 <= ref.arena < len(self._readers)
        payload = self._readers[ref.arena].get(ref) if known else None
        if payload is None:
            self._counters.add("payloads_lost_total")
        return payload

    def release(self, ref: ArenaRef) -> None:
        """Tell the owner that `ref` was read; where the ring is full, at one of the next sweeps."""
        if not self._rings.release(ref.arena, ref.block):
            self._unreleased.append(ref)

    def released(self) -> list[int]:
        """Return the blocks of this arena that others are done with."""
        for _ in range(len(self._unreleased)):
            self.release(self._unreleased.popleft())
        return self._rings.take()
