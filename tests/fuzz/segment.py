"""Target: a shared memory segment whose header isn't what it was."""

import os

from scheduler.errors import LayoutError
from scheduler.memory.layout import HEADER, MAGIC, Dimensions
from scheduler.memory.segment import _HEADER_BYTES, Segment

_DIMENSIONS = Dimensions(gateways=2, nodes=8, sessions_per_gateway=4, classes=3)


class SegmentTarget:
    """Attaching succeeds, or raises LayoutError; then nothing stays open.

    An input is laid over the header of a good segment, from its first byte on.
    """

    def __init__(self) -> None:
        self._segment = Segment.create(_DIMENSIONS, epoch="beef", started_ms=1, started_ns=2)
        self._header = os.pread(self._segment.fd, _HEADER_BYTES, 0)

    def seeds(self) -> list[bytes]:
        """Return the header itself, and it with each column at odd values."""
        headers = [self._header, bytes(_HEADER_BYTES), b""]
        for column in HEADER.columns:
            place = self._segment.layout.placements[HEADER.name, column.name]
            for value in (0, 1, 255, (1 << 64) - 1, 1 << 63, 1 << 24, 1 << 40):
                odd = bytearray(self._header)
                size = min(8, place.dtype.itemsize)
                odd[place.offset : place.offset + size] = value.to_bytes(8, "little")[:size]
                headers.append(bytes(odd))
        return headers

    def tokens(self) -> list[bytes]:
        """Return numbers of eight bytes."""
        numbers = (0, 1, 2, 8, 1 << 24, (1 << 24) + 1, MAGIC, (1 << 63) - 1, 1 << 63)
        return [number.to_bytes(8, "little") for number in numbers]

    def run(self, data: bytes) -> None:
        """Attach to the segment with that header."""
        fd = self._segment.fd
        os.pwrite(fd, self._header, 0)
        os.pwrite(fd, data[:_HEADER_BYTES], 0)
        attached_fd = os.dup(fd)
        try:
            attached = Segment.attach(attached_fd, writable=False)
        except LayoutError:
            return
        else:
            assert attached.dimensions == _DIMENSIONS, "or views would lie outside of the memory"
            assert attached.layout.total_bytes == os.fstat(fd).st_size
            assert attached.views.column("nodes", "ref").shape == (_DIMENSIONS.nodes,)
        finally:
            os.close(attached_fd)

    def close(self) -> None:
        """Free the segment."""
        self._segment.close()
