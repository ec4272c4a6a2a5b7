"""Nodes that say anything in any order."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.gateway.machine import (
    PEERS_MAX,
    GatewayMachine,
    garbage,
    gateways,
    index,
    node_texts,
    with_ids,
)
from tests.gateway.world import FakeNode


class NodeMachine(GatewayMachine):
    """A session that speaks, and nodes of which some are hostile."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: list[FakeNode] = []
        """Sockets that have not registered a node."""
        self.past: list[dict[str, Any]] = []
        """Jobs that were assigned once, whether or not they still are."""

    @initialize()
    def begin(self) -> None:
        self._open_session(0)
        self._connect_node(1, 2)

    def _job_id(self, at: int) -> str:
        self.past += [job for _, job in self.jobs if job not in self.past]
        return str(self.past[at % len(self.past)]["job_id"]) if self.past else "job-test-1"

    @precondition(lambda self: self.nodes)
    @rule(at=index, which=st.integers(0, 20), text=node_texts)
    def say(self, at: int, which: int, text: str) -> None:
        node = self.nodes[at % len(self.nodes)]
        node.peer.on_text(with_ids(text, node=node.id, job=self._job_id(which)))

    @precondition(lambda self: len(self.nodes) > 1)
    @rule(at=index, which=st.integers(0, 20), text=node_texts)
    def say_in_anothers_name(self, at: int, which: int, text: str) -> None:
        node, other = (self.nodes[n % len(self.nodes)] for n in (at, at + 1))
        node.peer.on_text(with_ids(text, node=other.id, job=self._job_id(which)))

    @precondition(lambda self: self.nodes)
    @rule(at=index, text=garbage, binary=st.booleans())
    def say_garbage(self, at: int, text: bytes, binary: bool) -> None:
        peer = self.nodes[at % len(self.nodes)].peer
        (peer.on_binary if binary else peer.on_text)(text)

    @precondition(lambda self: self.nodes and self.past)
    @rule(at=index, which=st.integers(0, 20), attempt=st.integers(0, 4), good=st.booleans())
    def answer_what_is_past(self, at: int, which: int, attempt: int, good: bool) -> None:
        job = {**self.past[which % len(self.past)], "attempt_id": attempt}
        node = self.nodes[at % len(self.nodes)]
        if good:
            node.answer(job)
        else:
            node.fail(job, "MODEL_NOT_AVAILABLE", service_id="nmt-m2m100")
        # It may have been the attempt that the node works on, which has ended by that.
        self.jobs = [
            (holder, held)
            for holder, held in self.jobs
            if (holder, held["job_id"], held["attempt_id"]) != (node, job["job_id"], attempt)
        ]

    @precondition(lambda self: self.nodes)
    @rule(at=index, cpu=st.sampled_from((0.0, 5.0, 95.0, -1.0, 1e308)), running=st.integers(-5, 99))
    def beat(self, at: int, cpu: float, running: int) -> None:
        node = self.nodes[at % len(self.nodes)]
        node.heartbeat(usage={"cpu_percent": cpu, "running_jobs": running})

    @precondition(lambda self: len(self.strangers) < PEERS_MAX)
    @rule(gateway=gateways)
    def come(self, gateway: int) -> None:
        self.strangers.append(FakeNode(self.world, gateway))

    @precondition(lambda self: self.strangers)
    @rule(at=index, text=node_texts | garbage)
    def say_something_first(self, at: int, text: str | bytes) -> None:
        stranger = self.strangers[at % len(self.strangers)]
        stranger.peer.on_text(text if isinstance(text, bytes) else with_ids(text, node="node-X"))
        self.world.settle()

    @precondition(lambda self: self.strangers)
    @rule(at=index)
    def go(self, at: int) -> None:
        self.strangers.pop(at % len(self.strangers)).hang_up()

    def teardown(self) -> None:
        for stranger in self.strangers:
            stranger.hang_up()
        super().teardown()


TestNodeStates = NodeMachine.TestCase
TestNodeStates.settings = settings(max_examples=40, stateful_step_count=40)
