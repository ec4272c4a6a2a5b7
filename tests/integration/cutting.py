"""A lossy line between clients and a scheduler: sockets break off, in the middle of frames too."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from random import Random

_READ_BYTES = 1_500


class Line:
    """Passes bytes on, and cuts each socket once so many have passed, until enough were cut."""

    def __init__(self, host: str, port: int, rng: Random, cuts: int) -> None:
        self.port = 0
        self.cuts = 0
        self.half_open = 0
        """Of them: those whose other end was not told."""
        self._target = host, port
        self._rng = rng
        self._cuts_max = cuts

    async def pass_on(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        reader, writer = await asyncio.open_connection(*self._target)
        left = self._rng.randint(300, 30_000) if self.cuts < self._cuts_max else None
        passage = _Passage(left)
        pumps = [
            asyncio.create_task(passage.pump(client_reader, writer)),
            asyncio.create_task(passage.pump(reader, client_writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if passage.is_cut:
                self.cuts += 1
                client_writer.transport.abort()
                if self._rng.random() < 0.5:
                    self.half_open += 1
                    pumps[0].cancel()  # the scheduler hears nothing more, and no end
                    await pumps[1]
                    await _drop(reader)
                else:
                    writer.transport.abort()
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            client_writer.close()
            writer.close()


class _Passage:
    """One socket's."""

    def __init__(self, left: int | None) -> None:
        self._left = left
        self.is_cut = False

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(_READ_BYTES):
                if self.is_cut:
                    return
                if self._left is not None:
                    data, whole = data[: self._left], len(data)
                    self._left -= len(data)
                    self.is_cut = len(data) < whole
                sink.write(data)
                if self.is_cut:
                    return
                await sink.drain()


async def _drop(source: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await source.read(_READ_BYTES):
            continue


@asynccontextmanager
async def a_lossy_line(address: str, rng: Random, cuts: int) -> AsyncGenerator[Line]:
    """A line to `address`, host and port, that is cut so many times."""
    host, _, port = address.rpartition(":")
    line = Line(host, int(port), rng, cuts)
    passing: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(line.pass_on(reader, writer))
        passing.add(task)
        task.add_done_callback(passing.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
