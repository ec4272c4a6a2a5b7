"""The first message on a session's socket, and its answer."""

import asyncio

from msgspec import UNSET

from scheduler.protocol.session import (
    ErrorMessage,
    SessionInit,
    SessionInitAck,
    SessionResume,
)
from scheduler.sdk.connection import Connection
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.messages import SessionEvent


async def introduce(
    connection: Connection[SessionEvent],
    first: SessionInit | SessionResume,
    timeout_seconds: float,
) -> SessionInitAck:
    """Send `first` and return the answer; raise ConnectionLost, or Refused with its code."""
    await connection.send(first)
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await connection.receive()
    except TimeoutError as error:
        name = first.__struct_config__.tag
        raise ConnectionLost(f"no answer to {name} in {timeout_seconds:g} s") from error
    if isinstance(answer, ErrorMessage):
        details = None if answer.details is UNSET else answer.details
        raise Refused(answer.code, answer.message, details)
    if not isinstance(answer, SessionInitAck):
        raise ConnectionLost(f"{type(answer).__name__} came instead of session_init_ack")
    return answer
