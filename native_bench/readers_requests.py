"""The readers: GET /api/v1/stats at a steady rate over connections that are kept.

Plain sockets instead of an HTTP client, which would take more of the cores than the server does.
Every answer is checked, see Answers.
"""

import asyncio
import gzip
import re
import sys
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from native_bench.readers_plan import (
    ASKING,
    PLAIN,
    STREAMS,
    UNCHANGED,
    Call,
    RequestTask,
    Window,
    arrivals,
    blocks,
    send_calls,
    sleep_until,
)
from native_bench.readers_streams import watch
from scheduler.stats.schema import Snapshot

PATH = "/api/v1/stats"
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
_TAG = re.compile(rb"\r\nETag: (\S+)", re.IGNORECASE)
_COMPRESSED = b"\r\nContent-Encoding: gzip"
_ANSWER_SECONDS_MAX = 5.0
_BODIES_KEPT = 4


@dataclass
class Answers:
    """The answers so far, with what is wrong with them.

    The first body of a tag must be a snapshot, later ones the same bytes. `tag` is the latest.
    """

    calls: list[Call] = field(default_factory=list)
    tag: bytes = b""
    _bodies: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, call: Call, answer: bytes, asked: bytes) -> None:
        """Note an answer; `asked` is the tag that the request named."""
        head, _, body = answer.partition(_HEAD_END)
        found = _TAG.search(head)
        tag = found[1] if found else b""
        call.error = self._problem(head, body, tag, asked)
        call.answer_bytes = len(answer)
        if not call.error:
            self.tag = tag
        self.calls.append(call)

    def _problem(self, head: bytes, body: bytes, tag: bytes, asked: bytes) -> str:
        status = head[9:12]
        if status == b"304" and asked:
            return "" if tag == asked and not body else "unchanged, but not what was asked for"
        if status != b"200" or not tag:
            return f"status {status.decode(errors='replace')}, tag {tag.decode(errors='replace')}"
        known = self._bodies.get(tag)
        if known is not None:
            return "" if body == known else "other bytes under the same tag"
        try:
            data = gzip.decompress(body) if _COMPRESSED in head else body
            msgspec.json.decode(data, type=Snapshot)
        except (ValueError, OSError, EOFError) as error:
            return f"no snapshot: {error}"
        self._bodies[tag] = body
        if len(self._bodies) > _BODIES_KEPT:
            del self._bodies[next(iter(self._bodies))]
        return ""


class Reader(asyncio.Protocol):
    """One connection with one request at a time; among `idle` while it has none."""

    def __init__(self, answers: Answers, idle: "deque[Reader]", freed: asyncio.Event) -> None:
        self._answers = answers
        self._idle = idle
        self._freed = freed
        self._transport: asyncio.Transport
        self._call: Call | None = None
        self._asked = b""
        self._data = bytearray()
        self._whole_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there for requests."""
        self._transport = cast(asyncio.Transport, transport)
        self._idle.append(self)

    def ask(self, request: bytes, tag: bytes, due_ns: int) -> None:
        """Send a request, which names `tag`."""
        self._asked = tag
        self._call = Call(due_ns, time.monotonic_ns())
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._data += data
        if not self._whole_bytes:
            self._whole_bytes = _whole_bytes(self._data)
        if self._call is None or not 0 < self._whole_bytes <= len(self._data):
            return
        self._call.done_ns = time.monotonic_ns()
        self._answers.take(self._call, bytes(self._data), self._asked)
        self._data.clear()
        self._whole_bytes = 0
        self._idle.append(self)
        self._freed.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Be there no more: who waits for it fails."""
        if self in self._idle:
            self._idle.remove(self)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def _whole_bytes(data: bytearray) -> int:
    """Return how long the answer will be, 0 while its head is not whole."""
    end = data.find(_HEAD_END)
    if end < 0:
        return 0
    length = _LENGTH.search(data, 0, end + 2)
    return end + len(_HEAD_END) + (int(length[1]) if length else 0)


class Readers:
    """All connections, and the requests that are sent over whichever is idle."""

    def __init__(self, task: RequestTask, answers: Answers) -> None:
        self._task = task
        self._answers = answers
        self._idle: deque[Reader] = deque()
        self._freed = asyncio.Event()
        self._all: list[Reader] = []

    async def connect(self) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(self._task.connections):
            _, reader = await loop.create_connection(
                lambda: Reader(self._answers, self._idle, self._freed),
                self._task.host,
                self._task.port,
            )
            self._all.append(reader)

    async def read(self, window: Window) -> None:
        """Ask at the rate of the task through one window; return when all is answered.

        Raises TimeoutError where no answer comes.
        """
        task = self._task
        for due_ns in arrivals(
            task.seed, task.requests_per_second, window.begin_ns, window.until_ns
        ):
            await sleep_until(due_ns)
            # With all connections waiting for answers this one is late, and its times say so.
            await self._wait_idle(1)
            tag = self._answers.tag if window.form == UNCHANGED else b""
            self._idle.popleft().ask(self._request(window.form, tag), tag, due_ns)
        await self._wait_idle(len(self._all))

    async def _wait_idle(self, wanted: int) -> None:
        if len(self._idle) >= wanted:
            return
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            while len(self._idle) < wanted:
                self._freed.clear()
                await self._freed.wait()

    def _request(self, form: str, tag: bytes) -> bytes:
        lines = [
            f"GET {PATH} HTTP/1.1".encode(),
            f"Host: {self._task.host}:{self._task.port}".encode(),
            *([] if form == PLAIN else [b"Accept-Encoding: gzip"]),
            *([b"If-None-Match: " + tag] if tag else []),
        ]
        return b"\r\n".join(lines) + _HEAD_END

    def close(self) -> None:
        """Close the connections."""
        for reader in self._all:
            reader.close()


async def run(task: RequestTask) -> None:
    """Read or watch in those windows of each block that are for it."""
    answers = Answers()
    async for windows in blocks():
        with closing(Readers(task, answers)) as readers:
            await readers.connect()
            for window in windows:
                if window.form in ASKING:
                    await readers.read(window)
                elif window.form == STREAMS:
                    answers.calls += await watch(task, window)
    send_calls(answers.calls)


if __name__ == "__main__":
    uvloop.run(run(msgspec.json.decode(sys.argv[1], type=RequestTask)))
