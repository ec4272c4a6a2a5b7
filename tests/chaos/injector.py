"""Carries faults out: each kind of plan.py has its way here."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from tests.chaos.history import HARNESS, Event, now_ns
from tests.chaos.hub import Hub
from tests.chaos.node_worker import ANCHORS
from tests.chaos.operators import Operators
from tests.chaos.orders import Cut, Mood, Probe, SetMood, Storm
from tests.chaos.plan import Fault
from tests.chaos.rig import NODES, Rig, process_name

POLL_SECONDS = 0.01
REPLACED_SECONDS_MAX = 20.0
"""The supervisor waits 5 s before it replaces a process that stands still; all beyond it is what
a busy machine may take."""

NOT_DRAINING = {404, 409}
"""What `resume` is answered where the node is gone, offline, or not draining any more."""

COMMANDS_MAX = 40
COMMAND_SECONDS = 0.5
SHARE_CUT = 0.25
GUESTS = 40

MOODS: dict[str, Mood] = {
    "slow node": "slow",
    "mute node": "mute",
    "silent node": "silent",
    "node answers twice": "twice",
    "node answers late": "late",
    "node answers wrong attempts": "wrong",
    "node answers unknown jobs": "unknown",
    "node fails jobs": "failing",
    "flapping node": "flapping",
}


class Injector:
    """All faults of a run. `not_replaced` names stopped processes that stayed."""

    def __init__(
        self, rig: Rig, hub: Hub, operators: Operators, note: Callable[[Event], None]
    ) -> None:
        self._rig = rig
        self._hub = hub
        self._operators = operators
        self._note = note
        self._kills = 0
        self._stopped: set[int] = set()
        self._busy: set[str] = set()
        self._reloads = 0
        self.not_replaced: list[str] = []
        self._ways: dict[str, Callable[[Fault], Awaitable[str]]] = {
            "kill gateway": lambda fault: self._kill_once(self._row("gateway", fault)),
            "kill dispatcher": lambda _: self._kill_once(DISPATCHER_ROW),
            "kill stats": lambda _: self._kill_once(STATS_ROW),
            "kill twice": self._kill_twice,
            "kill all": self._kill_all,
            "stop long": self._stop_long,
            "stop short": self._stop_short,
            "cut sessions": self._cut_sessions,
            "cut nodes": self._cut_nodes,
            "half-open link": self._half_open,
            "storm of MODEL_NOT_AVAILABLE": self._missing_models,
            "drain node": self._drain,
            "full disk": self._fill_disk,
            "model hub": self._trouble_hub,
            "roll gateways": self._roll,
            "SIGHUP": self._hang_up,
            "connection storm": self._storm,
            **dict.fromkeys(MOODS, self._change_mood),
        }

    async def inject(self, fault: Fault) -> None:
        """Carry out a fault; return when it is over."""
        at_ns = now_ns()
        hit = await self._ways[fault.kind](fault)
        how = f"{fault.kind}: {fault.way}" if fault.way else fault.kind
        self._note(Event(at_ns, HARNESS, "fault", index=fault.number, text=hit, how=how))

    # --- processes -----------------------------------------------------------------------

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
        if how != "SIGKILL" or self._signal(pid, signal.SIGKILL):
            self._kills += 1
            name = process_name(row)
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
        gateways = range(self._rig.cluster.gateways)
        rows = [DISPATCHER_ROW, STATS_ROW, *(FIRST_GATEWAY_ROW + index for index in gateways)]
        pids = [self._rig.cluster.pid(row) for row in rows]
        for row, pid in zip(rows, pids, strict=True):
            self._kill(row, pid)
        return f"pids {pids}"

    async def _stop_long(self, fault: Fault) -> str:
        """Stop a process until the supervisor has replaced it."""
        row = self._row(fault.way, fault)
        pid = await self._pid(row)
        if not self._stop(pid):
            return "nobody"
        try:
            if await self._pid(row, besides=pid):
                self._kill(row, pid, "watchdog")
            else:
                self.not_replaced.append(f"{process_name(row)} pid {pid}")
        finally:
            self._go_on(pid)
        return f"{process_name(row)} pid {pid}"

    async def _stop_short(self, fault: Fault) -> str:
        row = self._row(fault.way, fault)
        pid = await self._pid(row)
        if self._stop(pid):
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self._go_on(pid)
        return f"{process_name(row)} pid {pid} for {fault.seconds:.1f} s"

    def _stop(self, pid: int) -> bool:
        """Stop a process that isn't stopped already."""
        if pid in self._stopped or not self._signal(pid, signal.SIGSTOP):
            return False
        self._stopped.add(pid)
        return True

    def _go_on(self, pid: int) -> None:
        self._stopped.discard(pid)
        self._signal(pid, signal.SIGCONT)

    async def _roll(self, _: Fault) -> str:
        self._rig.scheduler.process.send_signal(signal.SIGUSR2)
        return "all"

    async def _hang_up(self, _: Fault) -> str:
        self._reloads += 1
        self._rig.write_config("debug" if self._reloads % 2 else "info")
        self._rig.scheduler.process.send_signal(signal.SIGHUP)
        return "the supervisor"

    # --- peers ---------------------------------------------------------------------------

    async def _cut_sessions(self, fault: Fault) -> str:
        self._rig.order("sessions", Cut(fault.way, SHARE_CUT, fault.pick))
        return f"{SHARE_CUT:.0%} of the sessions"

    async def _cut_nodes(self, fault: Fault) -> str:
        self._rig.order("nodes", Cut(fault.way, SHARE_CUT, fault.pick))
        return f"{SHARE_CUT:.0%} of the nodes"

    async def _storm(self, _: Fault) -> str:
        self._rig.order("nodes", Storm(0))
        self._rig.order("sessions", Storm(GUESTS))
        return "all connections"

    def _node(self, fault: Fault) -> int:
        """Return the number of a node that may be told to misbehave."""
        return ANCHORS + int(fault.pick * (NODES - ANCHORS))

    async def _change_mood(self, fault: Fault) -> str:
        node = self._node(fault)
        [worker] = [w for w in self._rig.workers if w.name == "nodes"]
        worker.order(SetMood(node, MOODS[fault.kind], fault.seconds))
        return f"node {node} for {fault.seconds:.1f} s"

    async def _missing_models(self, fault: Fault) -> str:
        node = self._node(fault) if fault.way == "one node" else -1
        [worker] = [w for w in self._rig.workers if w.name == "nodes"]
        worker.order(SetMood(node, "missing", fault.seconds))
        return f"{fault.way} for {fault.seconds:.1f} s"

    async def _drain(self, fault: Fault) -> str:
        node_id = f"chaos-{self._node(fault):02}"
        statuses = [await self._operators.command(node_id, "drain")]
        await asyncio.sleep(fault.seconds)
        # Until it is so: the stats process or the dispatcher may just be gone.
        while statuses[-1] not in NOT_DRAINING and len(statuses) < COMMANDS_MAX:
            statuses.append(await self._operators.command(node_id, "resume"))
            await asyncio.sleep(COMMAND_SECONDS)
        return f"{node_id} for {fault.seconds:.1f} s: {statuses}"

    # --- surroundings --------------------------------------------------------------------

    async def _alone(
        self, what: str, begin: Callable[[], object], end: Callable[[], object], seconds: float
    ) -> str:
        """Have one trouble of a kind at a time."""
        if what in self._busy:
            return "nothing: it was so already"
        self._busy.add(what)
        try:
            begin()
            await asyncio.sleep(seconds)
        finally:
            end()
            self._busy.discard(what)
        return f"for {seconds:.1f} s"

    async def _half_open(self, fault: Fault) -> str:
        namespace = self._rig.namespace
        assert namespace is not None
        return await self._alone(
            "link",
            lambda: namespace.cut(fault.way),
            lambda: namespace.heal(fault.way),
            fault.seconds,
        )

    async def _fill_disk(self, fault: Fault) -> str:
        disk = self._rig.disk
        assert disk is not None
        return await self._alone("disk", disk.fill, disk.empty, fault.seconds)

    async def _trouble_hub(self, fault: Fault) -> str:
        if "hub" in self._busy:
            return "nothing: it was so already"
        self._busy.add("hub")
        try:
            await self._hub.set_trouble(fault.way)
            await asyncio.sleep(fault.seconds)
        finally:
            await self._hub.set_trouble("")
            self._busy.discard("hub")
        return f"for {fault.seconds:.1f} s"
