"""A client that does as docs/protocol.md says, on a line that loses what is on it at any moment.

Its side of the bookkeeping is the SDK's. At the end each utterance has been heard whole by the node
and has one reply.
"""

import base64
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.config import Config, LimitSettings, SchedulerSettings, SegmentationSettings
from scheduler.gateway.messages import encode
from scheduler.protocol.session import (
    AudioChunk,
    ErrorMessage,
    SessionInitAck,
    SessionResume,
    TranslationResult,
)
from scheduler.sdk.messages import session_event_decoder
from scheduler.sdk.unheard import Unheard
from tests.gateway.world import FakeSession, World

CONFIG = Config(
    limits=LimitSettings(jobs_per_session_max=1_000),
    scheduler=SchedulerSettings(web_task_segmentation=SegmentationSettings(pause_ms=60_000)),
)

few = st.integers(1, 4)


class ResumingMachine(RuleBasedStateMachine):
    """One session, one node."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(CONFIG)
        self.node = self.world.node(max_concurrent_jobs=1_000)
        session = self.world.session(resumable=True)
        self.wire, self.peer = session.wire, session.peer
        ack = session_event_decoder.decode(self.wire.raw.pop(0))
        assert isinstance(ack, SessionInitAck)
        self.session_id, self.token = ack.session_id, ack.resume_token
        self.unheard = Unheard()
        self.line: list[AudioChunk] = []
        """What the client has sent, and the gateway has not got yet."""
        self.is_up = True
        self.next_seq = 0
        self.saying = b""
        self.said: list[bytes] = []
        self.jobs: list[dict[str, Any]] = []
        self.heard_by_node: dict[int, bytes] = {}
        self.failed: set[int] = set()
        self.results: list[int] = []
        self.errors: list[int] = []

    # --- the client ----------------------------------------------------------------------

    @precondition(lambda self: self.is_up)
    @rule(chunks=few, ends=st.booleans())
    def speak(self, chunks: int, ends: bool) -> None:
        for _ in range(chunks):
            audio = b"%d," % self.next_seq
            self.saying += audio
            self._send(base64.b64encode(audio).decode(), is_final=False)
        if ends:
            self._end()

    def _end(self) -> None:
        self._send(None, is_final=True)
        if self.saying:
            self.said.append(self.saying)
        self.saying = b""

    def _send(self, payload: str | None, *, is_final: bool) -> None:
        message = AudioChunk(self.next_seq, is_final, self.session_id, payload)
        self.next_seq += 1
        self.unheard.say(message)
        self.line.append(message)

    @precondition(lambda self: self.is_up)
    @rule(count=few)
    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.wire.raw))):
            event = session_event_decoder.decode(self.wire.raw.pop(0))
            self.unheard.hear(event)
            if isinstance(event, TranslationResult):
                self.results.append(event.utterance_index)
            elif isinstance(event, ErrorMessage):
                assert isinstance(event.details, dict)
                self.errors.append(event.details["utterance_index"])

    # --- the line ------------------------------------------------------------------------

    @precondition(lambda self: self.line)
    @rule(count=few)
    def arrive(self, count: int) -> None:
        for message in self.line[:count]:
            self.peer.on_text(encode(message))
        del self.line[:count]
        self.world.settle()

    @precondition(lambda self: self.is_up)
    @rule(seen=st.booleans())
    def cut(self, seen: bool) -> None:
        """`seen` by the gateway, or else the socket looks open there."""
        self.line.clear()
        self.is_up = False
        if seen:
            self._hang_up()

    def _hang_up(self) -> None:
        self.wire.is_open = False
        self.peer.on_closed()

    @precondition(lambda self: not self.is_up)
    @rule(lost=st.sampled_from(["nothing", "nothing", "the answer", "all but the answer"]))
    def come_back(self, lost: str) -> None:
        """Be answered, perhaps; all that is kept comes before anything is said again."""
        again = FakeSession(self.world, 0)
        assert isinstance(self.token, str)
        again.peer.on_text(encode(SessionResume(self.session_id, self.token, self.unheard.replies)))
        self.wire = again.wire
        assert again.wire.peer is self.peer
        if lost == "the answer":
            self._hang_up()
            return
        ack = session_event_decoder.decode(self.wire.raw.pop(0))
        assert isinstance(ack, SessionInitAck)
        self.token = ack.resume_token
        missing = self.unheard.missing(ack)
        if lost == "all but the answer":
            self._hang_up()
            return
        self.is_up = True
        self.hear(len(self.wire.raw))
        self.line = missing

    # --- the rest ------------------------------------------------------------------------

    @invariant()
    def take_jobs(self) -> None:
        for job in self.node.jobs():
            index = job["utterance_index"]
            assert index not in self.heard_by_node, "one utterance, one job"
            self.heard_by_node[index] = base64.b64decode(job["audio"])
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(at=st.integers(0, 5), well=st.booleans())
    def end_job(self, at: int, well: bool) -> None:
        job = self.jobs.pop(at % len(self.jobs))
        if well:
            self.node.answer(job)
        else:
            self.failed.add(job["utterance_index"])
            self.node.fail(job, "MY_CODE")

    @rule()
    def replace_dispatcher(self) -> None:
        self.world.replace_dispatcher()

    def teardown(self) -> None:
        try:
            self._finish()
        finally:
            self.world.close()

    def _finish(self) -> None:
        if not self.is_up:
            self.come_back("nothing")
        self._end()
        self.arrive(len(self.line))
        self.take_jobs()
        while self.jobs:
            self.end_job(0, well=True)
        self.hear(len(self.wire.raw))
        every = set(range(len(self.said)))
        assert self.heard_by_node == dict(enumerate(self.said))
        assert self.results == sorted(every - self.failed)
        assert sorted(self.errors) == sorted(self.failed)
        assert self.unheard.replies == len(every)


TestResumingStates = ResumingMachine.TestCase
TestResumingStates.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
