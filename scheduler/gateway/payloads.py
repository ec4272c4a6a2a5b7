"""Where the bytes of jobs and results lie until they are sent.

With one gateway they stay in its own memory. With several, whoever sends them may be another
gateway, so they go into this gateway's arena, and only where they lie crosses the pipes. The one
who put them there frees them: of a job when it is over, of a result when the gateway that read it
says so through the release ring.
"""

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
    ) -> None:
        self._arena = arena
        self._readers = readers
        self._rings = rings
        self._counters = counters

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
        """Tell the owner that `ref` was read. A full ring only delays it to the owner's sweep."""
        self._rings.release(ref.arena, ref.block)

    def released(self) -> list[int]:
        """Return the blocks of this arena that others are done with."""
        return self._rings.take()
