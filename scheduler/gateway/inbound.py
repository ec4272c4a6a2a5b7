"""What a connection receives: frames in, whole messages within the connection's limits out.

Sans-I/O, around websockets' sans-I/O protocol object, which checks the frames themselves: order,
masks, reserved bits, opcodes, sizes. Only messages of one frame, nearly all there are, go past it:
one of 700 bytes takes 2.3 us here instead of 5.5 (tests/benchmarks/test_inbound_benchmark.py).
"""

from collections.abc import Iterator
from typing import NamedTuple

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.speedups import apply_mask

from scheduler.gateway.handshake import library_log
from scheduler.gateway.rate import MessageRate

FRAGMENTS_PER_COST = 16
"""Fragments that count as one more message as soon as they come: they take about as long. Of 4 KiB
each, the smallest that common libraries make, they are BYTES_PER_COST together."""

BYTES_PER_COST = 64 << 10
"""Bytes that count as one more message, up to a second's worth: 200 messages a second of 8 MiB
each would be more than a process can read. Speech comes at 0.04 MB a second and session."""

CONTROL_BYTES_MAX = 125
"""Payload of a ping, pong or close, RFC 6455 section 5.5."""

_FIN = 0x80
_CONTROL = 0x08
_MASKED = 0x80
_LENGTH = 0x7F
_LENGTH_16 = 126
"""The length stands in the next two bytes; with one more, in the next eight."""

_WHOLE = {_FIN | Opcode.TEXT: True, _FIN | Opcode.BINARY: False}
"""First bytes of messages of one frame: whether they are text."""

_ALLOWED = frozenset(
    {
        *(
            fin | opcode
            for fin in (0, _FIN)
            for opcode in (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)
        ),
        *(_FIN | opcode for opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG)),
    }
)
"""First bytes of all frames that break no rule by it."""


class Message(NamedTuple):
    """A whole message; text is valid UTF-8."""

    is_text: bool
    payload: bytes


class Pong(NamedTuple):
    """An answer to a ping of ours, or so the peer says."""

    payload: bytes


class OverRate(NamedTuple):
    """Something over the connection's rate came, and was dropped."""

    tell: bool
    """Whether it is time to tell the peer (again)."""


class Violation(Exception):  # noqa: N818 - what the peer did, not a fault of ours
    """The peer broke a rule; the connection closes with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Frames(Protocol):
    """The library's, but for control frames inside a message.

    It holds those to the room that is left in the message around them, so that a ping next to the
    limit was taken for a message too large.
    """

    def __init__(self, message_bytes_max: int) -> None:
        # Not the handshake's object, which keeps the request alive: 1.1 KB instead of 5.7.
        super().__init__(SERVER, max_size=message_bytes_max, logger=library_log)
        self._message_bytes_max = message_bytes_max

    def allow(self, message_bytes_max: int) -> None:
        """Bound messages by this from now on; no less than before."""
        self.max_message_size = message_bytes_max + (CONTROL_BYTES_MAX if self._is_inside else 0)
        self._message_bytes_max = message_bytes_max

    @property
    def _is_inside(self) -> bool:
        """Whether a message has begun that isn't whole yet."""
        return self.current_size is not None

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode in _DATA:
            before = self.current_size or 0
            if before + len(frame.data) > self._message_bytes_max:
                raise PayloadTooBig(len(frame.data), self._message_bytes_max - before)
        super().recv_frame(frame)
        self.allow(self._message_bytes_max)


class Inbound:
    """The receiving half of an open connection.

    `protocol` is also what answers pings and closes: whoever calls `receive` sends what it has
    to send afterwards.
    """

    __slots__ = (
        "_begun",
        "_failing",
        "_fragments",
        "_held",
        "_is_dropped",
        "_is_text",
        "_rate",
        "_wanted",
        "message_bytes_max",
        "messages_per_second_max",
        "protocol",
    )

    def __init__(self, message_bytes_max: int, messages_per_second_max: int, now: float) -> None:
        self.protocol = _Frames(message_bytes_max)
        self.allow(messages_per_second_max, now)
        self._begun = bytearray()
        """What has come of a message in fragments."""
        self._fragments = 0
        """How many it came in; 0 between messages."""
        self._is_text = False
        self._is_dropped = False
        """It was over the rate: what follows of it is dropped too."""
        self.message_bytes_max = message_bytes_max
        self._held = bytearray()
        """The beginning of a frame."""
        self._wanted = 0
        """How much of it there must be to go on."""
        self._failing = False
        """The protocol object has a frame that breaks a rule, and takes all that follows."""

    def allow(self, messages_per_second_max: int, now: float) -> None:
        """Begin a rate of messages."""
        self.messages_per_second_max = messages_per_second_max
        self._rate = MessageRate(messages_per_second_max, now)

    def allow_messages_of(self, message_bytes_max: int) -> None:
        """Bound messages by this from the next frame on; no less than before."""
        self.message_bytes_max = message_bytes_max
        self.protocol.allow(message_bytes_max)

    def receive(self, data: bytes, now: float) -> Iterator[Message | Pong | OverRate]:
        """Yield what `data` brings or completes.

        Raises Violation, and looks at nothing that came after it. What the protocol object itself
        finds wrong it keeps as `protocol.parser_exc`, and ends the connection.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = bytes(self._held)
            self._held.clear()
        start = 0
        while start < len(data):
            size, length = self._measure(data, start)
            if start + size > len(data):
                self._held += data[start:]
                self._wanted = size
                return
            end = start + size
            is_text = _WHOLE.get(data[start])
            if self._failing or is_text is None or self._fragments or self.protocol.state != OPEN:
                yield from self._through_protocol(data[start:end], now)
            else:
                masked = end - length
                payload = apply_mask(data[masked:end], data[masked - 4 : masked])
                yield self._complete(is_text, payload, now)
            start = end

    def _measure(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the bytes of the frame at `start`, and of its payload.

        Where that can't be told yet it is the bytes that it takes to tell. A frame that breaks a
        rule is given to the protocol object as it is, with all behind it.
        """
        rest = len(data) - start
        if self._failing:
            return rest, 0
        if rest < 2:
            return 2, 0
        first, length = data[start], data[start + 1] & _LENGTH
        self._failing = (
            first not in _ALLOWED
            or data[start + 1] < _MASKED
            or (first & _CONTROL != 0 and length > CONTROL_BYTES_MAX)
        )
        if self._failing:
            return rest, 0
        size = 6 + length
        if length >= _LENGTH_16:
            head = 4 if length == _LENGTH_16 else 10
            if rest < head:
                return head, 0
            length = int.from_bytes(data[start + 2 : start + head])
            size = head + 4 + length
        self._failing = length > self.message_bytes_max
        return (rest, 0) if self._failing else (size, length)

    def _through_protocol(self, frames: bytes, now: float) -> Iterator[Message | Pong | OverRate]:
        self.protocol.receive_data(frames)
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            event = self._take(frame, now)
            if event is not None:
                yield event

    @property
    def has_pongs(self) -> bool:
        """Whether pongs are due; not once a close frame stands behind them."""
        protocol = self.protocol
        return bool(protocol.writes) and protocol.state is OPEN

    def pongs(self) -> list[bytes]:
        """Return pongs that are due."""
        return self.protocol.data_to_send()

    @property
    def unfinished_bytes(self) -> int:
        """What is kept of a message, or a frame, that is not whole yet."""
        protocol = self.protocol
        # The object keeps bytes too: reserved bits it refuses only once their frame is whole.
        return len(self._held) + len(protocol.reader.buffer) + len(self._begun)

    def forget(self) -> None:
        """Drop what has come of a message that is not whole; the connection must be failing."""
        self._held.clear()
        self._begun.clear()

    def _take(self, frame: Frame, now: float) -> Message | Pong | OverRate | None:
        payload = frame.data
        assert isinstance(payload, bytes)
        # The parser holds on to its last frame: in a quiet connection, to a whole utterance.
        frame.data = b""
        if frame.opcode in _DATA:
            if not frame.fin or self._fragments:
                return self._take_fragment(frame.opcode, payload, frame.fin, now)
            return self._complete(frame.opcode is Opcode.TEXT, payload, now)
        if frame.opcode is Opcode.CLOSE:
            return None
        # These count like messages, or a peer could keep us busy with them alone.
        refusal = None if self._rate.take(now) else self._over_rate(now)
        return Pong(payload) if frame.opcode is Opcode.PONG else refusal

    def _take_fragment(
        self, opcode: Opcode, payload: bytes, fin: bool, now: float
    ) -> Message | OverRate | None:
        if opcode is not Opcode.CONT:
            self._is_text = opcode is Opcode.TEXT
        self._fragments += 1
        refusal = None
        if self._fragments % FRAGMENTS_PER_COST == 0 and not self._rate.take(now):
            refusal = self._over_rate(now)
            self._is_dropped = True
            self._begun.clear()
        if not self._is_dropped:
            self._begun += payload
        if not fin:
            return refusal
        whole, is_dropped = bytes(self._begun), self._is_dropped
        self._begun.clear()
        self._fragments, self._is_dropped = 0, False
        return refusal if is_dropped else self._complete(self._is_text, whole, now)

    def _complete(self, is_text: bool, payload: bytes, now: float) -> Message | OverRate:
        by_length = min(len(payload) // BYTES_PER_COST, self.messages_per_second_max - 1)
        if not self._rate.take(now, 1 + by_length):
            return self._over_rate(now)
        if is_text:
            _check_text(payload)
        return Message(is_text, payload)

    def _over_rate(self, now: float) -> OverRate:
        if self._rate.is_flood:
            raise Violation(CloseCode.POLICY_VIOLATION, "too many messages per second")
        return OverRate(self._rate.may_tell(now))


_DATA = frozenset({Opcode.CONT, Opcode.TEXT, Opcode.BINARY})


def _check_text(payload: bytes) -> None:
    """Raise Violation where `payload` is not UTF-8."""
    if payload.isascii():  # as all audio is; 1 µs for 40 KB
        return
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise Violation(
            CloseCode.INVALID_DATA, f"invalid UTF-8 at byte {error.start} of the message"
        ) from None
