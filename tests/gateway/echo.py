"""An echo server made of gateways' connections, for other people's tests of such servers.

    python -m tests.gateway.echo [--port PORT] [--chopped]

The Autobahn test suite is the one meant; docs/reliability.md says how it is run and what it found.
"""

import asyncio
import socket
from typing import Any

import click
import uvloop
from websockets.frames import Frame, Opcode

from scheduler.config import LimitSettings
from scheduler.gateway.connection import Connection
from scheduler.gateway.listener import ConnectionSettings, Listener, Route
from tests.gateway.sockets import CounterSink, FakeLife

# Messages of 16 MiB, 65,536 fragments and 1,000 echoes as fast as they come: no case is about
# bounds of the server.
_LIMITS: dict[str, Any] = {
    "message_bytes_max": 32 << 20,
    "write_buffer_bytes_max": 128 << 20,
    "messages_per_second_max": 1_000_000,
    "first_message_timeout_seconds": 3_600,
}
_WHOLE_BYTES_MAX = 4_096
_PIECE_BYTES = 997


class EchoPeer:
    """Sends back what it is sent, text as text and binary as binary."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.mark_admitted()

    def on_text(self, message: bytes) -> None:
        self._connection.send(message)

    def on_binary(self, message: bytes) -> None:
        # Gateways send no binary messages, so that a connection has no way to.
        self._connection._outbound.add(Frame(Opcode.BINARY, message).serialize(mask=False))
        self._connection._schedule_flush()

    def on_closed(self) -> None:
        """Nothing is held."""


class Chopped(Connection):
    """Reads byte by byte, or in small pieces where a read brings much."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Take it so."""
        size = 1 if len(data) <= _WHOLE_BYTES_MAX else _PIECE_BYTES
        for start in range(0, len(data), size):
            super().data_received(data[start : start + size])


async def _serve(port: int, *, chopped: bool, limits: LimitSettings) -> None:
    loop = asyncio.get_running_loop()
    listener = Listener(
        loop,
        ConnectionSettings(limits),
        routes=[Route("/", EchoPeer)],
        responders={},
        counters=CounterSink(),
        count_refusal=lambda _: None,
        life=FakeLife(),
    )
    listening = socket.create_server(("127.0.0.1", port))
    listening.setblocking(False)
    make = Chopped if chopped else Connection
    click.echo(f"ws://127.0.0.1:{listening.getsockname()[1]}/")
    server = await loop.create_server(lambda: make(listener._context), sock=listening)
    await server.serve_forever()


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="default: any free one")
@click.option("--chopped", is_flag=True, help="read byte by byte")
def main(port: int, *, chopped: bool) -> None:
    """Serve on loopback until it is ended."""
    uvloop.run(_serve(port, chopped=chopped, limits=LimitSettings(**_LIMITS)))


if __name__ == "__main__":
    main()
