"""Payload arenas: one gateway allocates, the others copy out.

A buddy allocator hands out blocks of a power of two bytes. Each begins with a header, its number
and the size of its payload. The number is written last and cleared first, and never comes again:
a reader that finds the number it was told before and after its copy has the right bytes.

         0         8         16
    ┌─────────┬─────────┬──────────────────────────┬ ─ ─ ─ ─
    │ number  │ size    │ payload                  │ unused
    └─────────┴─────────┴──────────────────────────┴ ─ ─ ─ ─
"""

import mmap

import numpy as np

from scheduler.errors import ArenaFull
from scheduler.memory.segment import allocate
from scheduler.protocol.records import ArenaRef

_HEADER_BYTES = 16
_ORDER_MIN = 8
"""Smallest block: 256 bytes."""

_INCARNATION_BITS = 40

_NO_BLOCK = 0
"""Stands where a block's number would, while there is no block."""


def create_arena(size_bytes: int) -> int:
    """Return the descriptor of a new arena of at least `size_bytes`, a power of two."""
    return allocate("arena", 1 << (size_bytes - 1).bit_length())


class Arena:
    """The owner's end."""

    def __init__(self, fd: int, index: int, incarnation: int) -> None:
        """`incarnation` counts the owners before this one; whatever they left is void."""
        self._map = mmap.mmap(fd, 0)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("q")
        self._index = index
        self._order_max = len(self._map).bit_length() - 1
        assert len(self._map) == 1 << self._order_max, "an arena's size is a power of two"
        self._next_block = incarnation << _INCARNATION_BITS
        if incarnation:
            # Else the new owner would write into blocks whose numbers still stand.
            np.frombuffer(self._map, np.int64)[:: (1 << _ORDER_MIN) // 8] = _NO_BLOCK
        self._free: list[set[int]] = [set() for _ in range(self._order_max + 1)]
        self._free[self._order_max].add(0)
        self._taken: dict[int, tuple[int, int]] = {}
        self.used_bytes = 0

    def put(self, *parts: bytes) -> ArenaRef:
        """Store the joined parts; raise ArenaFull where there is no room."""
        size = sum(map(len, parts))
        order = max((size + _HEADER_BYTES - 1).bit_length(), _ORDER_MIN)
        offset = self._take(order)
        self._next_block += 1
        block = self._next_block
        self._taken[block] = (offset, order)
        self.used_bytes += 1 << order
        word = offset // 8
        self._words[word] = _NO_BLOCK  # payload of an earlier, larger block may lie here
        self._words[word + 1] = size
        at = offset + _HEADER_BYTES
        for part in parts:
            self._bytes[at : at + len(part)] = part
            at += len(part)
        self._words[word] = block
        return ArenaRef(self._index, offset, size, block)

    def _take(self, order: int) -> int:
        found = order
        while found <= self._order_max and not self._free[found]:
            found += 1
        if found > self._order_max:
            raise ArenaFull(f"no room for {1 << order} bytes, {self.used_bytes} are in use")
        offset = self._free[found].pop()
        while found > order:  # split, keeping the lower half
            found -= 1
            self._free[found].add(offset + (1 << found))
        return offset

    def free(self, block: int) -> None:
        """Free a block by its number; one that is free already is left alone."""
        taken = self._taken.pop(block, None)
        if taken is None:
            return
        offset, order = taken
        self._words[offset // 8] = _NO_BLOCK
        self.used_bytes -= 1 << order
        while order < self._order_max and offset ^ (1 << order) in self._free[order]:
            buddy = offset ^ (1 << order)
            self._free[order].remove(buddy)
            offset = min(offset, buddy)
            order += 1
        self._free[order].add(offset)

    def close(self) -> None:
        """Unmap the arena."""
        self._words.release()
        self._bytes.release()
        self._map.close()


class ArenaReader:
    """A reader's end, read-only."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("q")

    def get(self, ref: ArenaRef) -> bytes | None:
        """Copy out a payload; None where the block is gone, or `ref` names none."""
        start = ref.offset + _HEADER_BYTES
        inside = ref.offset >= 0 and ref.size >= 0 and start + ref.size <= len(self._bytes)
        if not inside or ref.offset % (1 << _ORDER_MIN) or ref.block == _NO_BLOCK:
            return None
        word = ref.offset // 8
        if self._words[word] != ref.block or self._words[word + 1] != ref.size:
            return None
        payload = bytes(self._bytes[start : start + ref.size])
        return payload if self._words[word] == ref.block else None

    def close(self) -> None:
        """Unmap the arena."""
        self._words.release()
        self._bytes.release()
        self._map.close()
