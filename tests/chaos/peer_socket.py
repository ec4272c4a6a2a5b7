"""The peers' WebSockets: opened, read and cut."""

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, WebSocketException

Message = dict[str, Any]

OPEN_SECONDS_MAX = 6.0
PING_SECONDS = 3.0
PONG_SECONDS_MAX = 9.0
"""Longer than a process may stand still before it is replaced: that is to be lived through."""

MESSAGE_BYTES_MAX = 16 << 20

TROUBLE = (OSError, WebSocketException, TimeoutError)
"""What a connection may meet while faults are injected."""


async def open_socket(url: str, *, pings: bool = True) -> ClientConnection:
    """Return a WebSocket; raise one of TROUBLE."""
    return await connect(
        url,
        proxy=None,
        compression=None,
        max_size=MESSAGE_BYTES_MAX,
        open_timeout=OPEN_SECONDS_MAX,
        close_timeout=2,
        ping_interval=PING_SECONDS if pings else None,
        ping_timeout=PONG_SECONDS_MAX,
    )


async def send(connection: ClientConnection, kind: str, **fields: Any) -> None:
    """Send a message of that type; raise ConnectionClosed."""
    await send_frame(connection, json.dumps({"type": kind, **fields}))


async def send_frame(connection: ClientConnection, frame: str | bytes) -> None:
    """Send a message as it is; raise ConnectionClosed."""
    try:
        await connection.send(frame)
    except AttributeError as error:
        if not connection.transport.is_closing():
            raise
        # websockets aborted the socket of a connection that took long to close; see `abort`.
        raise ConnectionClosedError(None, None) from error


def abort(connection: ClientConnection) -> None:
    """Cut the connection off."""
    # asyncio trips over a socket that went by itself after it was closed with data unsent.
    with suppress(AttributeError):
        connection.transport.abort()


async def expect(connection: ClientConnection, kind: str, seconds: float) -> Message:
    """Return the next message of that type, dropping others; raise one of TROUBLE.

    An `error` raises Refusal instead.
    """
    async with asyncio.timeout(seconds):
        while True:
            message: Message = json.loads(await connection.recv())
            if message["type"] == kind:
                return message
            if message["type"] == "error":
                raise Refusal(message["code"])


class Refusal(WebSocketException):
    """The scheduler answered with an error, whose code this is."""


def cut(connection: ClientConnection, how: str) -> None:
    """End a connection without a goodbye: reset it, or say that nothing more comes."""
    if how == "FIN":
        if connection.transport.can_write_eof() and not connection.transport.is_closing():
            connection.transport.write_eof()
        return
    raw: socket.socket = connection.transport.get_extra_info("socket")
    if not connection.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    abort(connection)


def why_closed(error: ConnectionClosed) -> str:
    """Return the code that the other side closed with, 1006 where it just went away.

    "gave up" where it was us, for want of a pong.
    """
    if error.rcvd is not None:
        return str(error.rcvd.code)
    return "1006" if error.sent is None else "gave up"
