"""Carries faults out: each kind of plan.py has its way here."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.chaos.history import HARNESS, Event, now_ns
from tests.chaos.hub import Hub
from tests.chaos.node_worker import ANCHORS
from tests.chaos.operators import Operators
from tests.chaos.orders import Cut, Mood, SetMood, Storm
from tests.chaos.plan import Fault
from tests.chaos.process_faults import ProcessFaults
from tests.chaos.rig import NODES, Rig

CLOCK_SECONDS = (2.0, 86_400.0)
"""So far the wall clock jumps, and back."""

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
    """All faults of a run."""

    def __init__(
        self, rig: Rig, hub: Hub, operators: Operators, note: Callable[[Event], None]
    ) -> None:
        self._rig = rig
        self._hub = hub
        self._operators = operators
        self._note = note
        self._processes = ProcessFaults(rig, note)
        self._busy: set[str] = set()
        self._ways: dict[str, Callable[[Fault], Awaitable[str]]] = {
            "cut sessions": self._cut_sessions,
            "cut nodes": self._cut_nodes,
            "half-open link": self._half_open,
            "storm of MODEL_NOT_AVAILABLE": self._missing_models,
            "drain node": self._drain,
            "full disk": self._fill_disk,
            "model hub": self._trouble_hub,
            "connection storm": self._storm,
            "clock jump": self._move_clock,
            **dict.fromkeys(MOODS, self._change_mood),
            **dict.fromkeys(self._processes.kinds, self._processes.carry_out),
        }

    @property
    def troubles(self) -> list[str]:
        """What went wrong with processes or their memory."""
        return self._processes.troubles

    @property
    def kinds(self) -> set[str]:
        """Those that it can carry out."""
        return {*self._ways}

    async def inject(self, fault: Fault) -> None:
        """Carry out a fault; return when it is over."""
        at_ns = now_ns()
        hit = await self._ways[fault.kind](fault)
        how = f"{fault.kind}: {fault.way}" if fault.way else fault.kind
        self._note(Event(at_ns, HARNESS, "fault", index=fault.number, text=hit, how=how))

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

    async def _move_clock(self, fault: Fault) -> str:
        clock = self._rig.clock
        assert clock is not None
        far = CLOCK_SECONDS[0] + fault.pick * (CLOCK_SECONDS[1] - CLOCK_SECONDS[0])
        by = far if fault.way == "forth" else -far
        hit = await self._alone(
            "clock", lambda: clock.set(by), lambda: clock.set(0.0), fault.seconds
        )
        return f"all processes by {by:.0f} s {hit}"

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
