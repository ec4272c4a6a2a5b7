"""A run: start everything, inject the plan's faults, let it settle, hold it against the checker."""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos import facts
from tests.chaos.check_end import EndFacts
from tests.chaos.history import Event, History
from tests.chaos.hub import Hub
from tests.chaos.injector import Injector
from tests.chaos.operators import Operators
from tests.chaos.plan import Fault, Needs, make_plan
from tests.chaos.rig import Rig
from tests.chaos.watcher import PlacementWatch, ProcessWatch
from tests.leaks import marked_processes

MARK = "LINGUA_CHAOS_RUN"
"""Set in the environment of everything that a run starts."""

WATCH_SECONDS = 0.02
PLACEMENT_SECONDS = 0.2
READERS = 2
READ_PAUSE_SECONDS = 0.1
WARM_UP_SECONDS = 2.0
FINISH_SECONDS_MAX = 110.0
"""Sessions wait for their last replies for up to 90 s."""

PAYLOADS_SECONDS_MAX = 200.0
PAYLOADS_FROM_MINUTES = 5.0
"""Runs that take so long anyway wait for payloads to be freed too."""

_LOGGED_WARNING = re.compile(
    r'^(?=.*"level": ?"(?:warning|error|critical)")\{.*"event": ?"([^"]*)"', re.MULTILINE
)

Progress = Callable[[str], None]


class Settings:
    """What a run is made from."""

    def __init__(
        self,
        *,
        minutes: float,
        seed: int,
        gateways: int,
        per_minute: float,
        only: frozenset[str] = frozenset(),
    ) -> None:
        self.minutes = minutes
        self.seed = seed
        self.gateways = gateways
        self.per_minute = per_minute
        self.only = only

    @property
    def command(self) -> str:
        """What replays the run."""
        parts = [f"scripts/chaos --minutes {self.minutes:g} --seed {self.seed}"]
        parts.append(f"--gateways {self.gateways} --rate {self.per_minute:g}")
        parts += [f"--only '{kind}'" for kind in sorted(self.only)]
        return " ".join(parts)


class Run:
    """One run with its files in `folder`."""

    def __init__(self, settings: Settings, folder: Path, progress: Progress) -> None:
        self.settings = settings
        self.folder = folder
        self.missing: dict[Needs, str] = {}
        self.epochs: list[str] = []
        self.operator_answers: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        """What the scheduler logged at warning and above, by event."""
        self._progress = progress
        self._history = History(folder / "harness.jsonl")
        self._kills = 0
        self._faults = 0
        self._troubles: list[str] = []

    def _note(self, event: Event) -> None:
        self._kills += event.what == "killed"
        self._faults += event.what == "fault"
        self._history.note(event)

    async def run(self) -> EndFacts:
        """Run and return what was left at the end; the history is in the folder then."""
        mark = f"{MARK}={random.SystemRandom().getrandbits(64):016x}"
        os.environ[MARK] = mark.partition("=")[2]
        hub = Hub()
        try:
            hub_url = await hub.start()
            self._progress("starting")
            rig = await asyncio.to_thread(
                Rig, self.folder, self.settings.seed, self.settings.gateways, hub_url
            )
            try:
                end = await self._with_rig(rig, hub)
            finally:
                await asyncio.to_thread(rig.close)
        finally:
            await hub.close()
            self._history.close()
        orphans = await asyncio.to_thread(marked_processes, mark, except_pid=os.getpid())
        end.orphans.extend(orphans)
        return end

    async def _with_rig(self, rig: Rig, hub: Hub) -> EndFacts:
        self.epochs = rig.epochs
        self.missing = rig.missing
        operators = Operators(rig.scheduler.ops_url, rig.admin_token)
        processes = ProcessWatch(rig, self._note)
        placements = PlacementWatch(rig)
        before = await facts.steady_process_facts(rig.cluster, rig.rows)
        rig.start_workers()
        watching = [
            asyncio.create_task(_often(processes.look, WATCH_SECONDS)),
            asyncio.create_task(_often(placements.look, PLACEMENT_SECONDS)),
            asyncio.create_task(_often(self._history.flush, PLACEMENT_SECONDS)),
            asyncio.create_task(_often(lambda: self._show(rig), 0.5)),
        ]
        reading = [asyncio.create_task(operators.follow())]
        reading += [
            asyncio.create_task(operators.read_on(READ_PAUSE_SECONDS)) for _ in range(READERS)
        ]
        try:
            injector = Injector(rig, hub, operators, self._note)
            await self._inject(rig, injector)
            self._progress("faults are over; the peers come to their end")
            end_slots = await self._let_finish(rig)
            await _cancel(reading)
            left = await self._settle(rig)
        finally:
            await _cancel([*reading, *watching])
            await operators.close()
        self.operator_answers = operators.answers
        self._troubles += injector.troubles
        self._troubles += [
            f"{one.node_id} was ejected and got job {one.decision.job:X}"
            for one in placements.check.found
        ]
        after = await facts.steady_process_facts(rig.cluster, rig.rows, before)
        end = EndFacts(
            left=left,
            slots=end_slots,
            totals=facts.totals(rig.cluster),
            counters=self._counters(rig) | {"ejections seen": placements.check.ejections_total},
            before=before,
            after=after,
            orphans=[],
            troubles=self._troubles,
        )
        await asyncio.to_thread(self._stop, rig)
        return end

    def _counters(self, rig: Rig) -> dict[str, int]:
        """Return the counters of all supervisors that there were."""
        sums = Counter(rig.past)
        sums.update(facts.counters(rig.cluster))
        return dict(sums)

    async def _inject(self, rig: Rig, injector: Injector) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(WARM_UP_SECONDS)
        plan = make_plan(
            self.settings.seed,
            self.settings.minutes * 60,
            per_minute=self.settings.per_minute,
            without=frozenset(rig.missing),
            only=self.settings.only,
        )
        begin = loop.time()
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await asyncio.sleep(begin + fault.at_seconds - loop.time())
                self._check_alive(rig)
                group.create_task(self._carry_out(injector, fault))

    async def _carry_out(self, injector: Injector, fault: Fault) -> None:
        try:
            await injector.inject(fault)
        except Exception as error:
            error.add_note(f"while injecting {fault}")
            raise

    def _check_alive(self, rig: Rig) -> None:
        code = None if rig.is_down else rig.scheduler.process.poll()
        assert code is None, (
            f"the scheduler ended with exit code {code}\n{rig.scheduler.log_tail()}"
        )
        for worker in rig.workers:
            assert not worker.failure(), worker.failure()

    async def _let_finish(self, rig: Rig) -> dict[str, str]:
        """Let sessions end, then nodes; return the slots that were taken in between."""
        rig.finish("prober")
        rig.finish("sessions")
        await self._until_ended(rig, ("sessions", "prober"))
        slots = await facts.until_empty(lambda: facts.slots(rig.cluster))
        rig.finish("nodes")
        await self._until_ended(rig, ("nodes",))
        return slots

    async def _until_ended(self, rig: Rig, starts: tuple[str, ...]) -> None:
        workers = [worker for start in starts for worker in rig.workers_of(start)]

        def running() -> dict[str, str]:
            return {worker.name: "runs" for worker in workers if not worker.has_ended()}

        left = await facts.until_empty(running, FINISH_SECONDS_MAX)
        self._troubles += [f"worker {name} did not end" for name in left]
        self._troubles += [worker.failure() for worker in workers if worker.failure()]

    async def _settle(self, rig: Rig) -> dict[str, str]:
        """Return what is left, but for payloads where it would take too long to wait for them."""

        def left() -> dict[str, str]:
            found = facts.left(rig.cluster)
            return {name: found[name] for name in found.keys() - facts.PAYLOADS}

        found = await facts.until_empty(left)
        if found or self.settings.minutes < PAYLOADS_FROM_MINUTES:
            return found
        self._progress("all have left; waiting for payloads that nobody fetched to be freed")
        return await facts.until_empty(lambda: facts.left(rig.cluster), PAYLOADS_SECONDS_MAX)

    def _stop(self, rig: Rig) -> None:
        """Stop the scheduler in good order and read what it logged."""
        try:
            rig.scheduler.stop()
        except AssertionError as error:
            self._troubles.append(str(error))
        logged = rig.logged()
        self.warnings.update(_LOGGED_WARNING.findall(logged))
        raised = re.findall(r"Traceback.{0,2000}", logged, re.DOTALL)
        self._troubles += [f"a process raised: {text}" for text in raised[:5]]

    def _show(self, rig: Rig) -> None:
        jobs = rig.cluster.totals()
        self._progress(
            f"{self._faults} faults, {self._kills} kills; jobs: {jobs.accepted} accepted, "
            f"{jobs.completed} completed, {jobs.failed} failed, {jobs.cancelled} cancelled, "
            f"{jobs.live} live"
        )


async def _often(look: Callable[[], None], seconds: float) -> None:
    while True:
        look()
        await asyncio.sleep(seconds)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
