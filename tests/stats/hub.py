"""A model hub over plain sockets, which can do everything that a hub shouldn't."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from tests.stats.test_catalog import service

SILENCE_SECONDS = 60.0

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> Write:
    async def write(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return write


def listing(*service_ids: str) -> Write:
    return answer(json.dumps({"services": [service(name) for name in service_ids]}).encode())


async def cut_mid_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"services": [')
    await writer.drain()


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(SILENCE_SECONDS)


async def trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


class Hub:
    """A server that answers each connection as it is told to."""

    def __init__(self) -> None:
        self.write: Write = listing("asr")
        self.requests: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0])
            await self.write(writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
