"""Targets: what a session or a node says, against real gateways and a real dispatcher core.

An input is lines; the first byte of each says what is done, mostly with the rest of it::

    T  a text message          A  the node answers a job     K  time passes
    B  a binary message        F  the node fails a job       D  the dispatcher is replaced
    S  the session speaks      N  the peer comes anew        anything else: nothing
"""

from collections.abc import Callable
from typing import Any, get_args

from scheduler.protocol.node import NodeMessage
from scheduler.protocol.session import SessionMessage
from tests.gateway.machine import (
    CONFIG,
    JOB_ID,
    NODE_ID,
    SESSION_ID,
    check_jobs,
    check_nothing_left,
    check_slots,
    made,
    with_ids,
)
from tests.gateway.world import FakeNode, FakeSession, World

LINES_MAX = 40
_SEED_BYTES_MAX = 600
_WORLD_INPUTS = 500
"""A world takes so many inputs; then a new one, with an empty table of nodes."""
_NODE_ID = "node-FUZZED"
"""Always the same, so that it takes its own row of the table again."""


class PeerTarget:
    """No exception, each job in one place after each line, and nothing left at the end."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._inputs = 0
        self._session: FakeSession
        self._node: FakeNode
        self._jobs: list[dict[str, Any]] = []
        self._actions: dict[bytes, Callable[[bytes], None]] = {
            b"T": self._text,
            b"B": self._binary,
            b"S": self._speak,
            b"A": self._answer,
            b"F": self._fail,
            b"K": self._pass_time,
            b"D": self._replace_dispatcher,
            b"N": self._come_anew,
        }

    def seeds(self) -> list[bytes]:
        """Return conversations around each kind of message."""
        raise NotImplementedError

    def tokens(self) -> list[bytes]:
        """Return lines, ids, and JSON's own signs."""
        return [
            *(b"\nS", b"\nA", b"\nF", b"\nK", b"\nD", b"\nN", b"\nT{", b"\nB", b"\nKKKKKKKKKK"),
            *(SESSION_ID.encode(), NODE_ID.encode(), JOB_ID.encode(), b"null", b"true", b"-1"),
            *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"AAAA", b"MODEL_NOT_AVAILABLE"),
        ]

    def run(self, data: bytes) -> None:
        """Let a session and a node come, do what the lines say, and let both go."""
        world = self._fresh_world()
        self._node = world.node(1, node_id=_NODE_ID, max_concurrent_jobs=2)
        assert self._node.node_id
        self._session = world.session(0)
        assert self._session.session_id
        for line in data.split(b"\n")[:LINES_MAX]:
            action = self._actions.get(line[:1])
            if action is not None:
                action(line[1:])
                self._look()
        self._session.hang_up()
        self._node.hang_up()
        self._jobs.clear()
        check_nothing_left(world, later_seconds=0)

    def _fresh_world(self) -> World:
        if self._world is None or self._inputs == _WORLD_INPUTS:
            self.close()
            self._world, self._inputs = World(CONFIG, gateways=2), 0
        self._inputs += 1
        return self._world

    def _look(self) -> None:
        world = self._session.world
        world.settle()
        check_jobs(world)
        check_slots(world)
        self._jobs += [m for m in self._node.wire.take() if m["type"] == "job_assign"]
        self._session.wire.take()
        if self._session.wire.closed is not None:
            self._come_anew_as_session()
        if self._node.wire.closed is not None:
            self._come_anew_as_node()

    def close(self) -> None:
        """Free the world."""
        if self._world is not None:
            self._world.close()
            self._world = None

    # --- lines ---------------------------------------------------------------------------

    def _text(self, rest: bytes) -> None:
        raise NotImplementedError

    def _binary(self, rest: bytes) -> None:
        raise NotImplementedError

    def _come_anew(self, rest: bytes) -> None:
        raise NotImplementedError

    def _put_ids(self, text: bytes) -> bytes:
        """Put real ids in; a message that is no text never comes so far."""
        job = str(self._jobs[-1]["job_id"]) if self._jobs else "job-test-1"
        found = text.decode(errors="ignore")
        return with_ids(found, session=self._session.id, node=self._node.id, job=job)

    def _speak(self, rest: bytes) -> None:
        self._session.speak(len(rest), request_id=None if rest else "again")

    def _answer(self, rest: bytes) -> None:
        if self._jobs:
            self._node.answer(self._jobs[len(rest) % len(self._jobs)])

    def _fail(self, rest: bytes) -> None:
        if self._jobs:
            code = rest.decode(errors="ignore")[:200]
            self._node.fail(self._jobs[-1], code or "NMT_TIMEOUT", reason=code)

    def _pass_time(self, rest: bytes) -> None:
        self._session.world.tick(float(len(rest)))

    def _replace_dispatcher(self, _: bytes) -> None:
        self._session.world.replace_dispatcher(carry_counts=True)

    def _come_anew_as_session(self) -> None:
        self._session.hang_up()
        self._session = self._session.world.session(0)
        assert self._session.session_id

    def _come_anew_as_node(self) -> None:
        self._node.hang_up()
        self._jobs.clear()
        self._node = self._node.world.node(1, node_id=_NODE_ID, max_concurrent_jobs=2)
        assert self._node.node_id


class SessionTarget(PeerTarget):
    """Text and binary messages are the session's."""

    def seeds(self) -> list[bytes]:
        """Return each message alone, and between jobs."""
        return _conversations(SessionMessage, b"SS\nT%b\nB%b\nA\nS\nF\nN\nT%b")

    def _text(self, rest: bytes) -> None:
        self._session.peer.on_text(self._put_ids(rest))

    def _binary(self, rest: bytes) -> None:
        self._session.peer.on_binary(rest)

    def _come_anew(self, rest: bytes) -> None:
        if not rest:
            self._come_anew_as_session()
            return
        self._session.hang_up()
        world = self._session.world
        stranger = FakeSession(world, 1)
        stranger.peer.on_text(self._put_ids(rest))
        world.settle()
        stranger.hang_up()
        self._come_anew_as_session()


class NodeTarget(PeerTarget):
    """Text and binary messages are the node's."""

    def seeds(self) -> list[bytes]:
        """Return each message alone, and while the node has jobs."""
        return _conversations(NodeMessage, b"S\nS1\nS12\nT%b\nB%b\nA1\nK11\nF\nD\nN\nT%b")

    def _text(self, rest: bytes) -> None:
        self._node.peer.on_text(self._put_ids(rest))

    def _binary(self, rest: bytes) -> None:
        self._node.peer.on_binary(rest)

    def _come_anew(self, rest: bytes) -> None:
        if not rest:
            self._come_anew_as_node()
            return
        world = self._node.world
        stranger = FakeNode(world, 0)
        stranger.peer.on_text(self._put_ids(rest))
        world.settle()
        stranger.hang_up()


def _conversations(union: Any, around: bytes) -> list[bytes]:
    texts = [text.encode() for text in made(union) if len(text) < _SEED_BYTES_MAX]
    assert len(texts) > len(get_args(union))
    alone = [b"T" + text for text in texts]
    return [*alone, *(around % (text, text[:20], text) for text in texts[::7])]
