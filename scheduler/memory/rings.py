"""Release rings: how a reader tells the owner of an arena that it is done with a block.

One ring for each pair of gateways, with one writer at each end: the reader advances `written`
after the entry stands, the owner advances `taken` after it was read.
"""

from scheduler.memory.layout import RELEASE_RINGS, RING_ENTRIES
from scheduler.memory.views import Views


class ReleaseRings:
    """All rings that one gateway has an end of."""

    def __init__(self, views: Views, gateways: int, index: int) -> None:
        self._gateways = gateways
        self._index = index
        self._written = views.column(RELEASE_RINGS.name, "written")
        self._taken = views.column(RELEASE_RINGS.name, "taken")
        self._entries = views.column(RELEASE_RINGS.name, "entries")

    def release(self, owner: int, block: int) -> bool:
        """Tell `owner` that its block was read; False where the ring is full."""
        ring = owner * self._gateways + self._index
        written = int(self._written[ring])
        if written - int(self._taken[ring]) >= RING_ENTRIES:
            return False
        self._entries[ring, written % RING_ENTRIES] = block
        self._written[ring] = written + 1
        return True

    def take(self) -> list[int]:
        """Return the blocks of this gateway's arena that others are done with."""
        blocks: list[int] = []
        first = self._index * self._gateways
        for ring in range(first, first + self._gateways):
            taken, written = int(self._taken[ring]), int(self._written[ring])
            blocks.extend(
                int(self._entries[ring, at % RING_ENTRIES]) for at in range(taken, written)
            )
            self._taken[ring] = written
        return blocks
