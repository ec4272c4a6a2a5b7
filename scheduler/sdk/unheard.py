"""What a session has said and may have to say again, should its socket be lost. No I/O."""

from collections import deque

from msgspec import UNSET, UnsetType

from scheduler.protocol.session import (
    AudioChunk,
    ErrorMessage,
    SessionInitAck,
    TranslationResult,
    Utterance,
)
from scheduler.sdk.messages import SessionEvent

SPEECH_BYTES_MAX = 8 << 20
"""Base64 kept of what was streamed: minutes of it, of which the scheduler lacks seconds."""


class Unheard:
    """Utterances of which nothing was heard yet, and the last streamed audio."""

    def __init__(self) -> None:
        self.utterances: dict[int, Utterance] = {}
        self.replies = 0
        """Terminal replies that came."""
        self._chunks: deque[AudioChunk] = deque()
        self._bytes = 0

    def say(self, message: Utterance | AudioChunk) -> None:
        """Keep what is about to be sent."""
        if isinstance(message, Utterance):
            self.utterances[message.utterance_index] = message
            return
        self._chunks.append(message)
        self._bytes += len(message.payload or "")
        while self._bytes > SPEECH_BYTES_MAX and len(self._chunks) > 1:
            self._forget_chunk()

    def hear(self, event: SessionEvent) -> None:
        """Take an event: what it tells of has arrived, and needs no repeating."""
        if isinstance(event, ErrorMessage):
            details = {} if event.details is UNSET else event.details
            index = details.get("utterance_index")
        else:
            index = getattr(event, "utterance_index", None)
        if index is None:
            return
        self.utterances.pop(index, None)
        if isinstance(event, ErrorMessage | TranslationResult):
            self.replies += 1

    def missing(self, ack: SessionInitAck) -> list[AudioChunk]:
        """Return the chunks that the scheduler has not taken, by its answer to session_resume."""
        while self._chunks and self._chunks[0].seq <= _number(ack.cut_seq):
            self._forget_chunk()
        return [chunk for chunk in self._chunks if chunk.seq > _number(ack.received_seq)]

    @property
    def is_speaking(self) -> bool:
        """Whether the last chunk did not end its utterance, as far as is known."""
        return bool(self._chunks) and not self._chunks[-1].is_final

    def _forget_chunk(self) -> None:
        self._bytes -= len(self._chunks.popleft().payload or "")


def _number(seq: int | UnsetType | None) -> int:
    """Return the number, one below all where there is none."""
    return seq if isinstance(seq, int) else -1
