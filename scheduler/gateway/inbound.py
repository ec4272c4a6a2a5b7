"""What a connection receives: frames in, whole messages within the connection's limits out.

Sans-I/O, around websockets' sans-I/O protocol object, which checks the frames themselves: order,
masks, reserved bits, opcodes, sizes.
"""

from collections.abc import Iterator
from typing import NamedTuple

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol

from scheduler.gateway.handshake import library_log
from scheduler.gateway.rate import MessageRate

FRAGMENTS_MAX = 1_024
FRAGMENTS_PER_COST = 64
"""Fragments that count as one more message: tiny ones cost us as much as messages do."""

_SLICE_BYTES = 16 << 10
"""Parsed at a time, so that a flood of tiny frames is noticed before the whole 256 KiB that one
read may bring have cost 0.2 s. The parser's buffer stays small too: fed 64 KiB at a time, echoes
of 44 KB took twice as long, for page faults."""


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


class Inbound:
    """The receiving half of an open connection.

    `protocol` is also what answers pings and closes: whoever calls `receive` sends what it has
    to send afterwards.
    """

    __slots__ = ("_fragments", "_is_text", "_rate", "messages_per_second_max", "protocol")

    def __init__(self, message_bytes_max: int, messages_per_second_max: int, now: float) -> None:
        # Not the handshake's object, which keeps the request alive: 1.1 KB instead of 5.7.
        self.protocol = Protocol(SERVER, max_size=message_bytes_max, logger=library_log)
        self.allow(messages_per_second_max, now)
        self._fragments: list[bytes] = []
        self._is_text = False

    def allow(self, messages_per_second_max: int, now: float) -> None:
        """Begin a rate of messages."""
        self.messages_per_second_max = messages_per_second_max
        self._rate = MessageRate(messages_per_second_max, now)

    def receive(self, data: bytes, now: float) -> Iterator[Message | Pong | OverRate]:
        """Yield what `data` brings or completes.

        Raises Violation, and looks at nothing that came after it. What the protocol object itself
        finds wrong it keeps as `protocol.parser_exc`, and ends the connection.
        """
        for start in range(0, len(data), _SLICE_BYTES):
            whole = len(data) <= _SLICE_BYTES
            self.protocol.receive_data(data if whole else data[start : start + _SLICE_BYTES])
            for frame in self.protocol.events_received():
                assert isinstance(frame, Frame)
                event = self._take(frame, now)
                if event is not None:
                    yield event

    def _take(self, frame: Frame, now: float) -> Message | Pong | OverRate | None:
        payload = frame.data
        assert isinstance(payload, bytes)
        # The parser holds on to its last frame: in a quiet connection, to a whole utterance.
        frame.data = b""
        if frame.opcode in _DATA:
            if not frame.fin or self._fragments:
                return self._take_fragment(frame.opcode, payload, frame.fin, now)
            return self._complete(frame.opcode is Opcode.TEXT, payload, 1, now)
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
        self._fragments.append(payload)
        if len(self._fragments) > FRAGMENTS_MAX:
            raise Violation(
                CloseCode.POLICY_VIOLATION, f"over {FRAGMENTS_MAX} fragments in one message"
            )
        if not fin:
            return None
        fragments, self._fragments = self._fragments, []
        cost = 1 + len(fragments) // FRAGMENTS_PER_COST
        return self._complete(self._is_text, b"".join(fragments), cost, now)

    def _complete(self, is_text: bool, payload: bytes, cost: int, now: float) -> Message | OverRate:
        if not self._rate.take(now, cost):
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
