"""What all workers have in common: orders from standard input, a history, an end with the harness.

A worker is a process of its own, so that neither its load nor its trouble is the harness's.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from scheduler.ipc.runtime import die_with
from tests.chaos.history import Event, History
from tests.chaos.orders import Finish, Order, decode_order

FLUSH_SECONDS = 0.2


class WorkerSpec(Struct, frozen=True):
    """What a worker is started with, as JSON on its command line."""

    harness_pid: int
    history: str
    seed: int
    url: str
    count: int
    first: int = 0
    """Number of its first peer: peers are numbered over all workers of a kind."""
    epoch: str = ""
    """Of the scheduler's job ids."""


class Worker:
    """Runs peers until it is told to finish."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.over = asyncio.Event()
        """Nothing new is to be begun."""
        self._history = History(Path(spec.history))
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, event: Event) -> None:
        """Add to the history."""
        self._history.note(event)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until it ends by itself; what it raises ends the worker."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            task.get_loop().call_exception_handler(
                {"message": "a worker's task failed", "exception": task.exception()}
            )
            self._history.close()
            os._exit(1)

    async def run(self, obey: Callable[[Order], None]) -> None:
        """Obey orders until Finish came and everything that was started has ended."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        flushing = asyncio.create_task(self._flush_often())
        try:
            while line := await reader.readline():
                order = decode_order(line)
                if isinstance(order, Finish):
                    self.over.set()
                    break
                obey(order)
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            flushing.cancel()
            with suppress(asyncio.CancelledError):
                await flushing
            self._history.close()

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._history.flush()


def enter(spec: WorkerSpec) -> None:
    """Make this process end with the harness."""
    die_with(spec.harness_pid)
