"""Cuts a session's streamed audio into utterances, and checks audio that comes whole.

An utterance ends with `is_final`, or by itself when no chunk came for the pause. Without audio
there is no utterance, however it ends.
"""

from typing import Literal, NamedTuple

import msgspec
import pybase64
from msgspec import Raw

from scheduler.errors import PeerError
from scheduler.protocol.codes import ErrorCode

_NOT_BASE64 = "is not base64; send padded standard base64 without spaces or line breaks"


class Cut(NamedTuple):
    """One whole utterance: the bytes of its chunks in order, and what ended it."""

    audio: bytes
    reason: Literal["final", "pause"]


class Segmenter:
    """The utterance one session is speaking now."""

    def __init__(self, pause_ns: int, bytes_max: int) -> None:
        self._pause_ns = pause_ns
        self._bytes_max = bytes_max
        # One buffer, not a list of chunks: a client that sends two bytes at a time would
        # otherwise hold twenty times the bound in object headers.
        self._audio = bytearray()
        self._dropping = False
        self._last_chunk_ns = 0

    @property
    def deadline_ns(self) -> int | None:
        """When the utterance ends if no chunk comes before; None while nothing is spoken."""
        speaking = self._audio or self._dropping
        return self._last_chunk_ns + self._pause_ns if speaking else None

    @property
    def held_bytes(self) -> int:
        """What the utterance takes by now."""
        return len(self._audio)

    def drop(self) -> None:
        """Drop the utterance whole, to its end: the rest of a sentence is no sentence."""
        self._audio = bytearray()
        self._dropping = True

    def start_pause(self, now_ns: int) -> None:
        """Count the pause from now on: until now no chunk could have come."""
        self._last_chunk_ns = now_ns

    def add(self, payload: bytes, is_final: bool, now_ns: int) -> Cut | None:
        """Take a chunk; return the utterance if the chunk ends it and there is any audio.

        A chunk that comes after the deadline but before a `poll` belongs to the utterance: what
        delayed it may have been the network or this process rather than the speaker.

        Raises PeerError MESSAGE_TOO_LARGE over the bound. The whole utterance is dropped then, to
        its end: the rest of a sentence is no sentence.
        """
        self._last_chunk_ns = now_ns
        if self._dropping:
            self._dropping = not is_final
            return None
        if len(self._audio) + len(payload) > self._bytes_max:
            self._audio = bytearray()
            self._dropping = not is_final
            raise PeerError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"the utterance is longer than {self._bytes_max} bytes "
                "(limits.utterance_bytes_max) and was dropped; end utterances sooner",
                {"utterance_bytes_max": self._bytes_max},
            )
        self._audio += payload
        return self._cut("final") if is_final and self._audio else None

    def poll(self, now_ns: int) -> Cut | None:
        """Return the utterance that a pause has ended by now, if one has."""
        deadline_ns = self.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns:
            return None
        if self._dropping:
            self._dropping = False
            return None
        return self._cut("pause")

    def _cut(self, reason: Literal["final", "pause"]) -> Cut:
        audio, self._audio = bytes(self._audio), bytearray()
        return Cut(audio, reason)


def decode_payload(text: str) -> bytes:
    """Return the bytes of an `audio_chunk` payload; "" is no bytes.

    Raises PeerError INVALID_MESSAGE where `text` is not strict base64.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        raise PeerError(ErrorCode.INVALID_MESSAGE, f"audio_chunk.payload {_NOT_BASE64}") from None


def check_audio(raw: Raw) -> bytes:
    """Return an utterance's audio as JSON text, quotes included, ready to be spliced.

    The text is the client's own, unless it holds JSON escapes (some encoders write `\\/`), which
    are resolved: the returned text is plain base64 between quotes.

    Raises PeerError INVALID_MESSAGE where it is not a string of strict base64, or empty.
    """
    text = bytes(raw)
    if not text.startswith(b'"'):
        raise PeerError(ErrorCode.INVALID_MESSAGE, "utterance.audio must be a base64 string")
    try:
        if b"\\" in text:
            text = b'"%b"' % msgspec.json.decode(text, type=str).encode()
        audio = pybase64.b64decode(memoryview(text)[1:-1], validate=True)
    except (ValueError, msgspec.DecodeError):
        raise PeerError(ErrorCode.INVALID_MESSAGE, f"utterance.audio {_NOT_BASE64}") from None
    if not audio:
        raise PeerError(ErrorCode.INVALID_MESSAGE, "utterance.audio is empty; nothing to translate")
    return text
