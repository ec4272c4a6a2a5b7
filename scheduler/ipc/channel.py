"""One end of the two pipes between a gateway and the dispatcher.

    ┌──────────────┬───────────────────────────────┐
    │ length u32 LE│ msgpack array of records      │   one such frame per flush
    └──────────────┴───────────────────────────────┘

Non-blocking at both ends: two processes that block in writing to each other would wait forever.
"""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder

from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull

PIPE_BYTES = 1 << 20
"""The most an unprivileged process may ask for (/proc/sys/fs/pipe-max-size)."""

_READ_BYTES = 1 << 20
_FRAME_BYTES_MAX = 16 << 20
_RECORDS_PER_FRAME = 512
"""Keeps frames short, so that a reader that is behind can begin before a long queue is sent."""

_RECORD_BYTES = 64
"""What a record not yet encoded counts for against the bound; most are smaller."""

_LENGTH_BYTES = 4

Inbound = TypeVar("Inbound")
PipeEnds = tuple[int, int]
"""(read, write) descriptors of one process."""


def make_pipes() -> tuple[PipeEnds, PipeEnds]:
    """Return both processes' ends of two new pipes."""
    read_a, write_b = _make_pipe()
    read_b, write_a = _make_pipe()
    return (read_a, write_a), (read_b, write_b)


def _make_pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # Refused where the user's pipes take up their allowance; a small pipe only costs speed.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_fd, write_fd


class Channel(Generic[Inbound]):
    """Sends and receives records. Owns its two descriptors."""

    def __init__(self, read_fd: int, write_fd: int, inbound: Any, *, queue_bytes_max: int) -> None:
        """`inbound` is the union of the records that may come in."""
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._decoder: Decoder[list[Inbound]] = Decoder(list[inbound])
        self._encoder = Encoder()
        self._queue_bytes_max = queue_bytes_max
        # One buffer for all reads: where malloc maps a new one each time, that costs 15 us.
        self._incoming = memoryview(bytearray(_READ_BYTES))
        self._filled = 0
        self._pending: list[Any] = []
        self._unsent = bytearray()
        self._failure: Exception | None = None

    # --- receiving -----------------------------------------------------------------------

    def receive(self) -> list[Inbound]:
        """Return the records that are there now, at most about a megabyte of them.

        Raises ChannelClosed at the end and ChannelCorrupt for what is no frame, both once the
        records before were handed out.
        """
        if self._failure is not None:
            raise self._failure
        if not self._read():
            return []
        records: list[Inbound] = []
        at = 0
        view = self._incoming[: self._filled]
        try:
            while (end := self._frame_end(view, at)) is not None:
                records += self._decoder.decode(view[at + _LENGTH_BYTES : end])
                at = end
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            self._fail(ChannelCorrupt(f"not a frame of records: {error}"), records)
        except ChannelCorrupt as error:
            self._fail(error, records)
        self._filled -= at
        if at and self._filled:
            self._incoming[: self._filled] = view[at:]
        return records

    def _read(self) -> bool:
        """Read into the room behind what is left of a frame; False where nothing is there."""
        if self._filled == len(self._incoming):
            larger = memoryview(bytearray(2 * self._filled))
            larger[: self._filled] = self._incoming
            self._incoming = larger
        try:
            room = self._incoming[self._filled : self._filled + _READ_BYTES]
            size = os.readv(self.read_fd, [room])
        except BlockingIOError:
            return False
        if not size:
            raise ChannelClosed("the process at the other end is gone")
        self._filled += size
        return True

    def _frame_end(self, view: memoryview, at: int) -> int | None:
        """Return where the frame at `at` ends; None where it is not all there."""
        if len(view) - at < _LENGTH_BYTES:
            return None
        size = int.from_bytes(view[at : at + _LENGTH_BYTES], "little")
        if size > _FRAME_BYTES_MAX:
            raise ChannelCorrupt(f"a frame of {size} bytes; at most {_FRAME_BYTES_MAX} are sent")
        end = at + _LENGTH_BYTES + size
        return end if end <= len(view) else None

    def _fail(self, error: Exception, records: list[Inbound]) -> None:
        self._failure = error  # where the next frame begins is not known any more
        if not records:
            raise error

    # --- sending -------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent; records not encoded yet are estimated."""
        return len(self._unsent) + len(self._pending) * _RECORD_BYTES

    def queue(self, record: Any) -> None:
        """Queue a record for the next flush; raise ChannelFull at the bound."""
        self.queue_all((record,))

    def queue_all(self, records: Sequence[Any]) -> None:
        """Queue records; raise ChannelFull at the bound, with none of them queued."""
        if self.queued_bytes >= self._queue_bytes_max:
            raise ChannelFull(f"{self.queued_bytes} bytes wait to be read")
        self._pending += records

    def flush(self) -> bool:
        """Write what the pipe takes; return whether that was all.

        Raises ChannelClosed where the other end is gone.
        """
        if self._pending:
            self._encode_pending()
        if not self._unsent:
            return True
        try:
            written = os.write(self.write_fd, self._unsent)
        except BlockingIOError:
            return False
        except BrokenPipeError as error:
            raise ChannelClosed("the process at the other end is gone") from error
        del self._unsent[:written]
        return not self._unsent

    def _encode_pending(self) -> None:
        pending, self._pending = self._pending, []
        for first in range(0, len(pending), _RECORDS_PER_FRAME):
            self._encode_frame(pending[first : first + _RECORDS_PER_FRAME])

    def _encode_frame(self, records: list[Any]) -> None:
        start = len(self._unsent)
        self._encoder.encode_into(records, self._unsent, start + _LENGTH_BYTES)
        size = len(self._unsent) - start - _LENGTH_BYTES
        if size > _FRAME_BYTES_MAX:  # many nodes with long lists of services, announced at once
            assert len(records) > 1, "a record longer than a frame may be"
            del self._unsent[start:]
            middle = len(records) // 2
            self._encode_frame(records[:middle])
            self._encode_frame(records[middle:])
            return
        self._unsent[start : start + _LENGTH_BYTES] = size.to_bytes(_LENGTH_BYTES, "little")

    def close(self) -> None:
        """Close both pipes; harmless when repeated."""
        if self.read_fd >= 0:
            os.close(self.read_fd)
            os.close(self.write_fd)
            self.read_fd = self.write_fd = -1
