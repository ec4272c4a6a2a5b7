"""A driver process: some of the sessions, on an event loop of its own.

`python -m scheduler.stress.driver TASK`; see messages.py for what it is told and what it answers.
"""

import asyncio
import gc
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import msgspec
import uvloop

from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
from scheduler.sdk.connection import cancel_and_wait
from scheduler.sdk.errors import SdkError
from scheduler.stress.arrivals import Turns, arrivals, levels
from scheduler.stress.checker import Findings
from scheduler.stress.messages import READY, STOP, Batch, Begin, Task
from scheduler.stress.scenario import shares
from scheduler.stress.speaker import Shared, Speaker, Talker, sleep_until

TOKEN_VARIABLE = "LINGUA_TOKEN"  # noqa: S105 - a name
"""As for the other commands."""

_BATCH_SECONDS = 0.25
_POLL_SECONDS = 0.05
_CONNECTING_MAX = 50
"""Handshakes at a time."""

_INTERRUPTED_SECONDS_MAX = 5.0
"""For replies to come after the run was ended early."""


class Driver:
    """The share of a scenario's load that is this process's."""

    def __init__(self, task: Task) -> None:
        scenario = task.scenario
        self._task = task
        self._findings = Findings()
        self._troubles: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._seed = f"{scenario.seed}/{task.number}"
        shared = Shared(
            task.url,
            task.number,
            self._findings,
            self._troubles,
            os.environ.get(TOKEN_VARIABLE),
            itertools.count().__next__,
        )
        count = self._own(scenario.sessions)
        self._turns = Turns(scenario.kinds, count, self._seed)
        self._speakers = []
        for number in range(count):
            kind = self._turns.kind_of(number)
            self._speakers.append(Speaker(shared, kind, scenario.kinds[kind], scenario.audio_bytes))
        self._talkers = []
        if scenario.talkers is not None:
            self._talkers = [
                Talker(shared, scenario.kinds[0], scenario.talkers, f"{self._seed}/talker {number}")
                for number in range(self._own(scenario.talkers.sessions))
            ]

    def _own(self, total: int) -> int:
        drivers = self._task.scenario.drivers
        return shares(total, [1] * drivers)[self._task.number]

    @property
    def sessions(self) -> tuple[int, int]:
        """How many speak and how many talk in chunks here."""
        return len(self._speakers), len(self._talkers)

    @property
    def _all(self) -> list[Speaker]:
        return [*self._speakers, *self._talkers]

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Connect, wait for the Begin, speak, wait for what is open; report all the while."""
        await self._open()
        gc.collect()
        gc.freeze()  # thousands of sessions that live to the end need not be looked at again
        _write(READY)
        line = await orders.readline()
        if not line:
            return
        begin = msgspec.json.decode(line, type=Begin)
        serving = [asyncio.create_task(speaker.serve()) for speaker in self._all]
        helping = [
            asyncio.create_task(self._report()),
            asyncio.create_task(self._obey(orders, asyncio.current_task())),
        ]
        try:
            await self._speak(begin.begin_ns)
            await self._drain()
            self._settle()
        finally:
            await cancel_and_wait(*serving, *helping)
        _write_batch(self._batch(done=True))
        await asyncio.gather(*(speaker.close() for speaker in self._all))

    async def _open(self) -> None:
        limit = asyncio.Semaphore(_CONNECTING_MAX)

        async def open_one(speaker: Speaker) -> None:
            async with limit:
                await speaker.open()

        async with asyncio.TaskGroup() as group:
            for speaker in self._all:
                group.create_task(open_one(speaker))

    async def _obey(self, orders: asyncio.StreamReader, work: "asyncio.Task[Any] | None") -> None:
        """Stop early when told so; end when who told is gone."""
        while line := await orders.readline():
            if line.strip() == STOP:
                self._stopping.set()
        if work is not None:
            work.cancel()

    async def _speak(self, begin_ns: int) -> None:
        scenario = self._task.scenario
        until_ns = begin_ns + int(scenario.seconds * 1e9)
        await _first(
            self._stopping.wait(),
            self._speak_all(begin_ns, until_ns),
        )

    async def _speak_all(self, begin_ns: int, until_ns: int) -> None:
        async with asyncio.TaskGroup() as group:
            for talker in self._talkers:
                group.create_task(talker.talk(begin_ns, until_ns))
            scenario = self._task.scenario
            plan = levels(scenario.load, scenario.seconds)
            # A share as the sessions', so that each session speaks as often as any other.
            share = len(self._speakers) / scenario.sessions
            for due_s in arrivals(plan, self._seed, share):
                due_ns = begin_ns + int(due_s * 1e9)
                await sleep_until(due_ns)
                group.create_task(self._speakers[self._turns.take()].say(due_ns))
            await sleep_until(until_ns)

    async def _drain(self) -> None:
        """Wait until everything is answered, or can't be any more."""
        stopped_ns = time.monotonic_ns()
        while waiting := [speaker for speaker in self._all if len(speaker.ledger)]:
            now_ns = time.monotonic_ns()
            if self._stopping.is_set() and now_ns - stopped_ns > _INTERRUPTED_SECONDS_MAX * 1e9:
                return
            newest_ns = max(speaker.ledger.newest_sent_ns() for speaker in waiting)
            if now_ns - newest_ns > self._task.scenario.reply_seconds_max * 1e9:
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _settle(self) -> None:
        now_ns = time.monotonic_ns()
        for speaker in self._all:
            if self._stopping.is_set():
                speaker.ledger.unfinished(now_ns)
            else:
                speaker.ledger.lost(now_ns)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_BATCH_SECONDS)
            _write_batch(self._batch())

    def _batch(self, *, done: bool = False) -> Batch:
        batch = Batch(
            self._findings.calls,
            self._findings.violations,
            dict(self._troubles),
            sum(speaker.sent_total for speaker in self._all),
            sum(len(speaker.ledger) for speaker in self._all),
            sum(speaker.is_open for speaker in self._all),
            done,
        )
        self._findings.calls, self._findings.violations = [], []
        self._troubles.clear()
        return batch


async def _first(*works: Coroutine[Any, Any, object]) -> None:
    """Return when one has ended, and cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _write_batch(batch: Batch) -> None:
    _write(msgspec.json.encode(batch) + b"\n")


async def _main(task: Task) -> None:
    orders = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    try:
        await Driver(task).run(orders)
    finally:
        transport.close()


def main(argument: str) -> int:
    """Run a task and return the exit code; an error that has a reason is told in one line."""
    problems: list[Exception] = []
    try:
        uvloop.run(_main(msgspec.json.decode(argument, type=Task)))
    except* SdkError as group:
        problems += group.exceptions
    for problem in problems[:1]:
        print(problem, file=sys.stderr)  # noqa: T201 - it goes to the log of this process
    return 1 if problems else 0


if __name__ == "__main__":
    configure_logging(ObservabilitySettings(log_level="error"), "sessions")
    sys.exit(main(sys.argv[1]))
