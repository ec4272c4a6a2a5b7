"""Sessions that speak on and on while something happens, and note how each utterance ended."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from websockets.exceptions import ConnectionClosed

from tests.integration.cluster import Cluster
from tests.integration.peers import DEADLINE_SECONDS, FakeSession, until

_UNFINISHED_MAX = 3
"""Beside the one just spoken."""


class Talker:
    """Speaks utterance after utterance, a few unfinished ones at a time."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.spoken = 0
        self.results: Counter[int] = Counter()
        """`translation_result`s by utterance index."""
        self.errors: Counter[int] = Counter()
        self.order: list[int] = []
        self._stop = False
        self._room = asyncio.Semaphore(_UNFINISHED_MAX)
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]

    async def _speak(self) -> None:
        with suppress(ConnectionClosed):
            while not self._stop:
                await self.session.speak(self.spoken, bytes([self.spoken % 256]) * 4_000)
                self.spoken += 1
                await self._room.acquire()

    async def _listen(self) -> None:
        while (message := await self.session.next()) is not None:
            if message["type"] == "translation_result":
                self.results[message["utterance_index"]] += 1
                self.order.append(message["utterance_index"])
            elif message["type"] == "error":
                self.errors[message["details"]["utterance_index"]] += 1
            else:
                continue
            self._room.release()

    @property
    def ended(self) -> int:
        """Terminal replies so far."""
        return self.results.total() + self.errors.total()

    async def go_on(self, utterances: int) -> None:
        """Return when so many more utterances have ended."""
        wanted = self.ended + utterances
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.ended < wanted and not self.session.is_closed:
                await asyncio.sleep(0.005)

    async def finish(self) -> None:
        """Say no more, and return when everything said has ended."""
        self._stop = True
        self._room.release()
        await self._tasks[1]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.ended < self.spoken and not self.session.is_closed:
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        """Stop; raise what went wrong meanwhile."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def check_one_result_each(self) -> None:
        """Every utterance has exactly one terminal reply, a result, and they came in order."""
        assert not self.errors, self.errors
        assert self.results == dict.fromkeys(range(self.spoken), 1)
        assert self.order == list(range(self.spoken))


async def kill_and_wait(cluster: Cluster, row: int) -> None:
    """Kill the process of a row of `processes`; return when another one serves in its place."""
    pid = cluster.pid(row)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: cluster.pid(row) not in {0, pid}, "another process is started")
    await until(lambda: cluster.serves(row), "it serves")
    await until(cluster.is_ready, "/ready answers 200 again")


@asynccontextmanager
async def talking(sessions: list[FakeSession]) -> AsyncGenerator[list[Talker]]:
    """Let all of them speak until the end of the block."""
    talkers = [Talker(session) for session in sessions]
    try:
        yield talkers
    finally:
        for talker in talkers:
            await talker.end()
