"""Run the plain scheduler on a free port of loopback; with `port N` it says that it serves."""

import asyncio
import signal
import sys

import uvloop
from websockets.asyncio.server import serve

from native_bench.open_files import allow_open_files
from native_bench.plain.server import Server

_MESSAGE_BYTES_MAX = 8 << 20
_LISTEN_BACKLOG = 4_096


async def _run() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    plain = Server()
    async with serve(
        plain.serve,
        "127.0.0.1",
        0,
        process_request=plain.route,
        compression=None,
        max_size=_MESSAGE_BYTES_MAX,
        backlog=_LISTEN_BACKLOG,
    ) as server:
        sys.stdout.write(f"port {next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    allow_open_files()
    uvloop.run(_run())
