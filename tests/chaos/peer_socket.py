"""The peers' WebSockets: opened, read and cut."""

import asyncio
import json
import socket
import struct
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

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
    await connection.send(json.dumps({"type": kind, **fields}))


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
    connection.transport.abort()


def why_closed(error: ConnectionClosed) -> str:
    """Return the code that the other side closed with, 1006 where it just went away.

    "gave up" where it was us, for want of a pong.
    """
    if error.rcvd is not None:
        return str(error.rcvd.code)
    return "1006" if error.sent is None else "gave up"
