"""Encodes what is sent to sessions and nodes, and decodes what they send."""

import random
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.json import Decoder

from scheduler.errors import PeerError
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import ErrorMessage

Message = TypeVar("Message")

encode = msgspec.json.Encoder().encode

RETRY_AFTER_MS = 500
"""Told with SERVER_BUSY where nothing says better when to come back: about the time of a job."""

_JITTER_SHARE = 0.5
"""Those that are told at once to come back later must not all come back at once."""

SHUTTING_DOWN = "the server is shutting down; reconnect in a moment"


def decode(decoder: Decoder[Message], text: bytes) -> Message:
    """Decode a peer's message; raise PeerError INVALID_MESSAGE that says what is wrong with it."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise PeerError(ErrorCode.INVALID_MESSAGE, str(error)) from None
    # Deep nesting raises RecursionError, bad characters inside a string UnicodeDecodeError.
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise PeerError(ErrorCode.INVALID_MESSAGE, f"not a JSON message: {error}") from None


def error_message(code: str, message: str, details: dict[str, Any] | None = None) -> bytes:
    """Return an `error`."""
    return encode(ErrorMessage(code, message, details if details is not None else UNSET))


def error_of(error: PeerError) -> bytes:
    """Return the `error` that answers a refused message."""
    return error_message(error.code, error.message, error.details)


def jittered(retry_after_ms: int) -> int:
    """Return that time or up to half as much more."""
    return round(retry_after_ms * random.uniform(1, 1 + _JITTER_SHARE))  # noqa: S311 - no secret


def busy(why: str) -> PeerError:
    """Return the refusal for want of room."""
    wait_ms = jittered(RETRY_AFTER_MS)
    return PeerError(
        ErrorCode.SERVER_BUSY, f"{why}; try again in {wait_ms} ms", {"retry_after_ms": wait_ms}
    )
