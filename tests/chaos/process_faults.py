"""Kills and stops the scheduler's processes, and has the supervisor replace or reread."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from tests.chaos import facts
from tests.chaos.history import Event, now_ns
from tests.chaos.orders import Probe
from tests.chaos.plan import Fault
from tests.chaos.recovery import TO_ALL, WATCHDOG
from tests.chaos.rig import Rig, process_name

POLL_SECONDS = 0.01
REPLACED_SECONDS_MAX = 25.0
"""The supervisor waits 4 s before it replaces a process that stands still, 10 s where that one was
just starting; all beyond it is what a busy machine may take."""

ORPHANED_SECONDS_MAX = 5.0
"""The kernel kills the children of a supervisor with it."""


class ProcessFaults:
    """Those of a run. `troubles` says what went wrong with processes or their memory."""

    def __init__(self, rig: Rig, note: Callable[[Event], None]) -> None:
        self._rig = rig
        self._note = note
        self._kills = 0
        self._stopped: set[int] = set()
        self._reloads = 0
        self._going_on = 0
        """Faults of single processes."""
        self._killed: set[int] = set()
        self._one_supervisor = asyncio.Lock()
        self._is_up = asyncio.Event()
        self._is_up.set()
        self.troubles: list[str] = []
        self._ways: dict[str, Callable[[Fault], Awaitable[str]]] = {
            "kill gateway": lambda fault: self._kill_once(self._row("gateway", fault)),
            "kill dispatcher": lambda _: self._kill_once(DISPATCHER_ROW),
            "kill stats": lambda _: self._kill_once(STATS_ROW),
            "kill twice": self._kill_twice,
            "kill all": self._kill_all,
            "stop long": self._stop_long,
            "stop short": self._stop_short,
            "roll gateways": self._roll,
            "SIGHUP": self._hang_up,
        }

    @property
    def kinds(self) -> set[str]:
        """Those that it can carry out."""
        return {"kill supervisor", *self._ways}

    async def carry_out(self, fault: Fault) -> str:
        """Carry out a fault, with no change of supervisors until it is over."""
        if fault.kind == "kill supervisor":
            return await self._kill_supervisor()
        while not self._is_up.is_set():
            await self._is_up.wait()
        self._going_on += 1
        try:
            return await self._ways[fault.kind](fault)
        finally:
            self._going_on -= 1

    async def _kill_supervisor(self) -> str:
        """Kill the supervisor, and so all; start the whole again at the same addresses."""
        async with self._one_supervisor:
            self._is_up.clear()
            try:
                while self._going_on:
                    await asyncio.sleep(POLL_SECONDS)
                return await self._replace_supervisor()
            finally:
                self._is_up.set()

    async def _replace_supervisor(self) -> str:
        rig = self._rig
        pid = rig.scheduler.process.pid
        children = {process_name(row): rig.cluster.pid(row) for row in rig.rows}
        rig.is_down = True
        at_ns = now_ns()
        self._note_kill("supervisor", pid, at_ns, "SIGKILL")
        for name, child in children.items():
            self._note(Event(at_ns, name, "died", size=child))
        rig.scheduler.process.kill()
        await asyncio.to_thread(rig.scheduler.process.wait)
        running = await facts.until_empty(
            lambda: {name: "runs" for name, child in children.items() if is_running(child)},
            ORPHANED_SECONDS_MAX,
        )
        self.troubles += [f"outlived the supervisor: {name}" for name in running]
        self._count_past()
        await rig.restart()
        rig.is_down = False
        return f"supervisor pid {pid}, and with it {children}"

    def _count_past(self) -> None:
        """Take stock of the memory that nobody writes any more."""
        cluster = self._rig.cluster
        totals = cluster.totals()
        # Each gateway may have been killed between two of its counters.
        if abs(totals.balance) > cluster.gateways:
            self.troubles.append(f"jobs don't add up when the supervisor was killed: {totals}")
        self._rig.past.update(facts.counters(cluster))
        self._rig.past["jobs before the supervisor was killed"] += totals.accepted

    def _row(self, role: str, fault: Fault) -> int:
        if role == "gateway":
            return FIRST_GATEWAY_ROW + int(fault.pick * self._rig.cluster.gateways)
        return DISPATCHER_ROW if role == "dispatcher" else STATS_ROW

    def _signal(self, pid: int, number: int) -> bool:
        """Signal a child of the supervisor; False where it is none, or none any more."""
        supervisor = self._rig.scheduler.process.pid
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        if int(stat.rpartition(")")[2].split()[1]) != supervisor:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    async def _pid(self, row: int, *, besides: int = 0) -> int:
        """Return the pid of the process of a row, once there is one other than `besides`; or 0."""
        deadline_ns = now_ns() + int(REPLACED_SECONDS_MAX * 1e9)
        while (pid := self._rig.cluster.pid(row)) in {0, besides}:
            if now_ns() > deadline_ns:
                return 0
            await asyncio.sleep(POLL_SECONDS)
        return pid

    def _kill(self, row: int, pid: int, how: str = "SIGKILL") -> None:
        at_ns = now_ns()
        if self._signal(pid, signal.SIGKILL):
            self._killed.add(pid)
            self._note_kill(process_name(row), pid, at_ns, how)

    def _note_kill(self, name: str, pid: int, at_ns: int, how: str) -> None:
        self._kills += 1
        self._note(Event(at_ns, name, "killed", index=self._kills, how=how, size=pid))
        self._rig.order("prober", Probe(self._kills, at_ns))

    async def _kill_once(self, row: int) -> str:
        pid = await self._pid(row)
        self._kill(row, pid)
        return f"{process_name(row)} pid {pid}"

    async def _kill_twice(self, fault: Fault) -> str:
        row = self._row(fault.way, fault)
        pid = await self._pid(row)
        self._kill(row, pid)
        successor = await self._pid(row, besides=pid)
        # Anywhere between its first instruction and its first jobs.
        await asyncio.sleep(fault.pick)
        self._kill(row, successor)
        return f"{process_name(row)} pids {pid} and {successor}"

    async def _kill_all(self, _: Fault) -> str:
        pids = {row: self._rig.cluster.pid(row) for row in self._rig.rows}
        for row, pid in pids.items():
            self._kill(row, pid, TO_ALL)
        return f"pids {[*pids.values()]}"

    async def _stop_long(self, fault: Fault) -> str:
        """Stop a process until the supervisor has replaced it."""
        row = self._row(fault.way, fault)
        pid = await self._pid(row)
        if not self._stop(row, pid):
            return "nobody"
        try:
            if await self._pid(row, besides=pid):
                if pid not in self._killed:  # by another fault
                    self._note_kill(process_name(row), pid, now_ns(), WATCHDOG)
            else:
                self.troubles.append(f"stayed stopped: {process_name(row)} pid {pid}")
        finally:
            self._go_on(row, pid)
        return f"{process_name(row)} pid {pid}"

    async def _stop_short(self, fault: Fault) -> str:
        row = self._row(fault.way, fault)
        pid = await self._pid(row)
        if self._stop(row, pid):
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self._go_on(row, pid)
        return f"{process_name(row)} pid {pid} for {fault.seconds:.1f} s"

    def _stop(self, row: int, pid: int) -> bool:
        """Stop a process that isn't stopped already."""
        if pid in self._stopped or not self._signal(pid, signal.SIGSTOP):
            return False
        self._stopped.add(pid)
        self._note(Event(now_ns(), process_name(row), "stopped", size=pid))
        return True

    def _go_on(self, row: int, pid: int) -> None:
        self._stopped.discard(pid)
        self._signal(pid, signal.SIGCONT)
        self._note(Event(now_ns(), process_name(row), "continued", size=pid))

    async def _roll(self, _: Fault) -> str:
        self._rig.scheduler.process.send_signal(signal.SIGUSR2)
        return "all"

    async def _hang_up(self, _: Fault) -> str:
        self._reloads += 1
        self._rig.write_config("debug" if self._reloads % 2 else "info")
        self._rig.scheduler.process.send_signal(signal.SIGHUP)
        return "the supervisor"


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be waited for doesn't count."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
