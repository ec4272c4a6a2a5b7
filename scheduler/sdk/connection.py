"""One WebSocket to the scheduler, speaking structs; the clients are built on it."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import structlog
from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, Encoder
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.protocol import State

from scheduler.sdk.errors import ConnectionLost

MESSAGE_BYTES_MAX = 32 << 20
"""Largest message taken: well above what a scheduler lets through by default."""

_log = structlog.get_logger(__name__)
_encode = Encoder().encode

Message = TypeVar("Message")


class Connection(Generic[Message]):
    """An open socket that receives `Message`s. Every method raises ConnectionLost once it is gone.

    A peer that stops answering pings is given up after 40 s, so no wait on it is longer.
    """

    def __init__(self, socket: ClientConnection, decoder: Decoder[Message]) -> None:
        self._socket = socket
        self._decoder = decoder

    @classmethod
    async def open(
        cls,
        url: str,
        decoder: Decoder[Message],
        *,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> "Connection[Message]":
        """Open a socket to `url` (ws:// or wss://).

        `tls` is for wss:// alone: whom to trust, and the client certificate; by default the
        system's CAs, and none.
        """
        if tls is not None and not url.startswith("wss:"):
            raise ConnectionLost(f"{url!r} is not encrypted; write wss://host:port/path")
        options: dict[str, Any] = {"ssl": tls} if tls is not None else {}
        try:
            socket = await connect(
                url,
                compression=None,
                open_timeout=timeout_seconds,
                close_timeout=5,
                max_size=MESSAGE_BYTES_MAX,
                user_agent_header=None,
                **options,
            )
        except InvalidURI as error:
            raise ConnectionLost(
                f"{url!r} is no WebSocket address; write ws://host:port/path"
            ) from error
        except TimeoutError as error:
            raise ConnectionLost(f"no answer from {url} in {timeout_seconds:g} s") from error
        except (OSError, InvalidHandshake) as error:
            raise ConnectionLost(f"can't connect to {url}: {error}") from error
        return cls(socket, decoder)

    async def send(self, message: Struct) -> None:
        """Send one message; waits while the peer reads more slowly than we send."""
        await self._send(_encode(message), text=True)

    async def send_binary(self, data: bytes) -> None:
        """Send one binary frame."""
        await self._send(data, text=False)

    async def _send(self, data: bytes, *, text: bool) -> None:
        with self._losses():
            await self._socket.send(data, text=text)

    async def receive(self) -> Message:
        """Return the next message; those of another protocol version are logged and passed over."""
        while True:
            with self._losses():
                data = await self._socket.recv(decode=False)
            try:
                return self._decoder.decode(data)
            except ValidationError as error:
                _log.warning("message not understood", problem=str(error))
            except (DecodeError, UnicodeDecodeError, RecursionError) as error:
                await self.close()
                raise ConnectionLost(f"the peer speaks no JSON: {error}") from error

    async def close(self) -> None:
        """Close the socket; at most 5 s, then it is cut off."""
        with suppress(ConnectionLost), self._losses():
            await self._socket.close()

    def abort(self) -> None:
        """Cut the socket off without a closing handshake, as a crash would."""
        if self._socket.state is not State.CLOSED:
            self._socket.transport.abort()

    @contextmanager
    def _losses(self) -> Iterator[None]:
        try:
            yield
        except ConnectionClosed as error:
            raise _lost(error) from error
        except AttributeError as error:
            # websockets aborts the transport, and asyncio of Python 3.11 trips over one that the
            # peer closed while data was unsent, once that was sent.
            if self._socket.state is not State.CLOSED:
                raise
            raise _lost(self._socket.protocol.close_exc) from error


def _lost(error: ConnectionClosed) -> ConnectionLost:
    closing = error.rcvd or error.sent
    if closing is None:
        return ConnectionLost("the connection broke off")
    reason = f" {closing.reason}" if closing.reason else ""
    return ConnectionLost(f"the connection was closed: {closing.code}{reason}")


async def cancel_and_wait(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks and wait until they have ended; their own errors are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
