"""What may happen to gateways, sessions and nodes in any order, and what holds after each step.

Hypothesis picks the steps and shrinks those that break something. The world is that of
tests/gateway/world.py: real gateways and a real dispatcher core without sockets, pipes or waiting.
An exception that escapes a handler fails the test: a connection would close for it.
"""

import asyncio
import json
import time
from collections import Counter
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.config import Config, LimitSettings, SchedulerSettings, SegmentationSettings
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import parse_wire_job_id
from scheduler.protocol.node import NodeMessage
from scheduler.protocol.session import SessionMessage
from tests.gateway.world import FakeNode, FakeSession, World
from tests.integration.hostile import edge_messages, plain, wrong_messages

SESSION_ID, NODE_ID, JOB_ID = "~session~", "~node~", "~job~"
"""Stand in made messages for the ids of whoever sends them."""

PEERS_MAX = 4
LATER_SECONDS = 10_000.0
"""After every deadline of the dispatcher."""
RESUME_SECONDS = 0.002
"""By the real clock: a gateway has no other."""

CONFIG = Config(
    limits=LimitSettings(
        sessions_per_gateway_max=8,
        jobs_per_session_max=4,
        nodes_max=8,
        resume_seconds=RESUME_SECONDS,
    ),
    scheduler=SchedulerSettings(web_task_segmentation=SegmentationSettings(pause_ms=1)),
)


def made(union: Any) -> list[str]:
    """Return messages of each kind that are wrong, or at a limit, in one place."""
    texts = []
    for kind in get_args(union):
        own = {"session_id": SESSION_ID, "node_id": NODE_ID, "job_id": JOB_ID, "audio": "AAAA"}
        base = {name: own.get(name, value) for name, value in plain(kind).items()}
        odd = [*wrong_messages(kind, base), *edge_messages(kind, base)]
        # The longest ones only cost time here; tests/integration has them.
        texts += [json.dumps(base), *(each.text for each in odd if len(each.text) < 5_000)]
    return texts


session_texts = st.sampled_from(made(SessionMessage))
node_texts = st.sampled_from(made(NodeMessage))
garbage = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    st.sampled_from((b"", b"{}", b"[]", b"null", b'{"type":1}', b"[" * 5_000, b'{"type":"')),
)
audio = st.sampled_from(("AAAA", "AAAAAAAA" * 50, "AA==", "AAAA", "", "not base64"))
codes = st.sampled_from((*ErrorCode, "OWN_CODE"))
gateways = st.integers(0, 1)
index = st.integers(0, PEERS_MAX - 1)


class GatewayMachine(RuleBasedStateMachine):
    """Two gateways, some sessions and nodes, and the jobs the nodes were given."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(CONFIG, gateways=2)
        self.sessions: list[FakeSession] = []
        self.nodes: list[FakeNode] = []
        self.jobs: list[tuple[FakeNode, dict[str, Any]]] = []
        """Assigned, and not answered yet as far as the node knows."""
        self.ended: Counter[str] = Counter()
        """Terminal replies by job."""

    # --- steps ---------------------------------------------------------------------------

    @precondition(lambda self: len(self.sessions) < PEERS_MAX)
    @rule(gateway=gateways)
    def open_session(self, gateway: int) -> None:
        self._open_session(gateway)

    @precondition(lambda self: len(self.nodes) < PEERS_MAX)
    @rule(gateway=gateways, slots=st.integers(1, 3))
    def connect_node(self, gateway: int, slots: int) -> None:
        self._connect_node(gateway, slots)

    @precondition(lambda self: self.sessions)
    @rule(at=index, number=st.integers(0, 3), audio=audio, request=st.sampled_from("abc"))
    def speak(self, at: int, number: int, audio: str, request: str) -> None:
        session = self.sessions[at % len(self.sessions)]
        session.speak(number, audio=audio, request_id=request if number else None)

    @precondition(lambda self: self.jobs)
    @rule(at=index, extra=st.sampled_from(({}, {"tts_audio": 5}, {"extra": {"a": 1}})))
    def answer(self, at: int, extra: dict[str, Any]) -> None:
        node, job = self._take_job(at)
        node.answer(job, **extra)

    @precondition(lambda self: self.jobs)
    @rule(at=index, code=codes)
    def fail(self, at: int, code: str) -> None:
        node, job = self._take_job(at)
        node.fail(job, code)

    @precondition(lambda self: self.nodes)
    @rule(at=index)
    def lose_node(self, at: int) -> None:
        self._lose_node(self.nodes[at % len(self.nodes)])

    @precondition(lambda self: self.sessions)
    @rule(at=index)
    def hang_up(self, at: int) -> None:
        self.sessions.pop(at % len(self.sessions)).hang_up()

    @rule(seconds=st.sampled_from((0.0, 1.0, 5.0, 11.0, 31.0)))
    def pass_time(self, seconds: float) -> None:
        self.world.tick(seconds)
        for gateway in self.world.gateways:
            gateway.sweep()

    @rule()
    def replace_dispatcher(self) -> None:
        self.world.replace_dispatcher(carry_counts=True)

    # --- helpers -------------------------------------------------------------------------

    def _open_session(self, gateway: int) -> FakeSession:
        session = self.world.session(gateway)
        assert session.session_id
        self.sessions.append(session)
        return session

    def _connect_node(self, gateway: int, slots: int) -> FakeNode:
        node = self.world.node(gateway, max_concurrent_jobs=slots)
        self.nodes.append(node)
        return node

    def _lose_node(self, node: FakeNode) -> None:
        self.nodes.remove(node)
        self.jobs = [(holder, job) for holder, job in self.jobs if holder is not node]
        node.hang_up()

    def _take_job(self, at: int) -> tuple[FakeNode, dict[str, Any]]:
        return self.jobs.pop(at % len(self.jobs))

    def _settle(self) -> None:
        self.world.settle()
        for node in tuple(self.nodes):
            self._read_node(node)
        for session in tuple(self.sessions):
            for message in session.heard():
                self._note_reply(message)
            if session.wire.closed is not None:
                self.sessions.remove(session)
                session.hang_up()

    def _read_node(self, node: FakeNode) -> None:
        for message in node.wire.take():
            if message["type"] == "job_assign":
                self.jobs.append((node, message))
            elif message["type"] == "job_cancel":
                self.jobs = [
                    (holder, job)
                    for holder, job in self.jobs
                    if holder is not node or job["job_id"] != message["job_id"]
                ]
        if node.wire.closed is not None:
            self._lose_node(node)

    def _note_reply(self, message: dict[str, Any]) -> None:
        job = message.get("job_id") or message.get("details", {}).get("job_id")
        if message["type"] in {"translation_result", "error"} and job:
            self.ended[job] += 1

    # --- what holds ----------------------------------------------------------------------

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        self._settle()
        check_jobs(self.world)

    @invariant()
    def nothing_runs_that_no_node_was_told_to(self) -> None:
        for node in self.nodes:
            told = {
                (parse_wire_job_id("test", job["job_id"]), job["attempt_id"])
                for holder, job in self.jobs
                if holder is node
            }
            assert {(held.job, held.attempt) for held in node.peer._attempts} <= told

    @invariant()
    def each_job_ends_once(self) -> None:
        assert not {job: count for job, count in self.ended.items() if count > 1}

    @invariant()
    def slots_are_within_their_number(self) -> None:
        check_slots(self.world)

    def teardown(self) -> None:
        """Let all go, and find nothing left."""
        try:
            for session in self.sessions:
                session.hang_up()
            for node in self.nodes:
                node.hang_up()
            check_nothing_left(self.world)
        finally:
            self.world.close()

    def _let_loop_turn(self, seconds: float) -> None:
        self.world.loop.run_until_complete(asyncio.sleep(seconds))
        self.world.settle()


def check_jobs(world: World) -> None:
    """Check that accepted = completed + failed + cancelled + live, for each gateway."""
    for number, gateway in enumerate(world.gateways):
        outcomes = ("completed", "failed", "cancelled")
        ended = sum(world.count(f"jobs_{outcome}_total", number) for outcome in outcomes)
        assert world.count("jobs_accepted_total", number) == ended + len(gateway._desk)
        assert world.count("jobs_live", number) == len(gateway._desk)


def check_slots(world: World) -> None:
    """Check that the slots taken, node by node, are the attempts that run."""
    world.core.update_gauges()
    in_flight = world.segment.views.column("nodes", "in_flight")
    assert (in_flight >= 0).all()
    assert int(in_flight.sum()) == world.core.counts.in_flight


def check_nothing_left(world: World, later_seconds: float = LATER_SECONDS) -> None:
    """Check that nothing is held any more, so much later, once all peers have gone."""
    if any(world.count("sessions", number) for number in range(len(world.gateways))):
        time.sleep(2 * RESUME_SECONDS)  # none of them may be resumed any more
    world.tick(later_seconds)
    for gateway in world.gateways:
        gateway.sweep()
    world.settle()
    for number, context in enumerate(world.contexts):
        gauges = ("sessions", "nodes", "jobs_live", "payload_bytes", "arena_used_bytes")
        assert {name: world.count(name, number) for name in gauges} == dict.fromkeys(gauges, 0)
        assert context.unfinished.bytes == 0
    check_slots(world)
    assert (world.core.counts.in_flight, world.core.counts.queued) == (0, 0)


def with_ids(text: str, *, session: str = "", node: str = "", job: str = "") -> bytes:
    """Return a made message with real ids in it."""
    for mark, value in ((SESSION_ID, session), (NODE_ID, node), (JOB_ID, job)):
        text = text.replace(mark, value)
    return text.encode()
