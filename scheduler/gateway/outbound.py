"""What a connection sends: frames queued in one turn of the loop, written together."""

import asyncio
import struct
from collections.abc import Sequence

from scheduler.protocol.text import cut_utf8

JOIN_BYTES_MAX = 16 << 10
"""Up to here one copy is cheaper than handing the kernel pieces."""

_TEXT = 0x81
_PING = b"\x89\x08"
_REASON_BYTES_MAX = 123


class Outbound:
    """Bytes not yet given to the transport.

    Text and ping frames are built here rather than by websockets' protocol object: a server's
    carry no mask, so that a frame is its head and the caller's own bytes.
    """

    __slots__ = ("_pieces", "messages", "unwritten_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.unwritten_bytes = 0
        self.messages = 0
        """Text messages among them."""

    def add(self, *pieces: bytes) -> None:
        """Queue bytes that are whole frames already, or an HTTP response."""
        self._pieces += pieces
        self.unwritten_bytes += sum(map(len, pieces))

    def add_text(self, parts: Sequence[bytes]) -> None:
        """Queue one text message; large parts are not copied."""
        length = 0
        for part in parts:
            length += len(part)
        head = _text_head(length)
        self._pieces.append(head)
        self._pieces += parts
        self.unwritten_bytes += len(head) + length
        self.messages += 1

    def add_ping(self, payload: bytes) -> None:
        """Queue a ping with the eight bytes of `ping_payload`."""
        self.add(_PING, payload)

    def write(self, transport: asyncio.Transport) -> None:
        """Hand over everything, in one call."""
        pieces, self._pieces = self._pieces, []
        if self.unwritten_bytes <= JOIN_BYTES_MAX:
            transport.write(b"".join(pieces))
        else:
            transport.writelines(pieces)
        self.unwritten_bytes = self.messages = 0

    def clear(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self.unwritten_bytes = self.messages = 0


def ping_payload(tick: int) -> bytes:
    """Return the payload of the ping sent at a tick of the keepalive."""
    return struct.pack("!q", tick)


def short_reason(reason: str) -> str:
    """Cut a close reason to what fits a control frame."""
    return cut_utf8(reason, _REASON_BYTES_MAX)


def _text_head(length: int) -> bytes:
    """Return the head of an unmasked text frame, RFC 6455 section 5.2."""
    if length < 126:
        return bytes((_TEXT, length))
    if length < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, length)
    return struct.pack("!BBQ", _TEXT, 127, length)
