"""Sessions that say anything in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.gateway.machine import (
    PEERS_MAX,
    GatewayMachine,
    garbage,
    gateways,
    index,
    session_texts,
    with_ids,
)
from tests.gateway.world import FakeSession


class SessionMachine(GatewayMachine):
    """A node that works, and sessions of which some are hostile."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: list[FakeSession] = []
        """Sockets that have not opened a session."""

    @initialize()
    def begin(self) -> None:
        self._connect_node(0, 2)
        self._open_session(0)

    @precondition(lambda self: self.sessions)
    @rule(at=index, text=session_texts)
    def say(self, at: int, text: str) -> None:
        session = self.sessions[at % len(self.sessions)]
        session.peer.on_text(with_ids(text, session=session.id))

    @precondition(lambda self: len(self.sessions) > 1)
    @rule(at=index, text=session_texts)
    def say_in_anothers_name(self, at: int, text: str) -> None:
        session, other = (self.sessions[n % len(self.sessions)] for n in (at, at + 1))
        session.peer.on_text(with_ids(text, session=other.id))

    @precondition(lambda self: self.sessions)
    @rule(at=index, text=garbage)
    def say_garbage(self, at: int, text: bytes) -> None:
        self.sessions[at % len(self.sessions)].peer.on_text(text)

    @precondition(lambda self: self.sessions)
    @rule(at=index, data=st.binary(max_size=200), final=st.booleans())
    def stream(self, at: int, data: bytes, final: bool) -> None:
        session = self.sessions[at % len(self.sessions)]
        session.peer.on_binary(data)
        if final:
            session.say(type="audio_chunk", seq=0, is_final=True)

    @precondition(lambda self: self.sessions)
    @rule()
    def pause(self) -> None:
        self._let_loop_turn(0.005)

    @precondition(lambda self: self.sessions)
    @rule(at=index)
    def close(self, at: int) -> None:
        session = self.sessions[at % len(self.sessions)]
        session.say(type="session_close", session_id=session.id, reason="x")
        session.speak(0)  # too late

    @precondition(lambda self: len(self.strangers) < PEERS_MAX)
    @rule(gateway=gateways)
    def come(self, gateway: int) -> None:
        self.strangers.append(FakeSession(self.world, gateway))

    @precondition(lambda self: self.strangers)
    @rule(at=index, text=session_texts | garbage)
    def say_something_first(self, at: int, text: str | bytes) -> None:
        stranger = self.strangers[at % len(self.strangers)]
        stranger.peer.on_text(text if isinstance(text, bytes) else with_ids(text))
        stranger.peer.on_binary(b"audio")
        self.world.settle()
        assert stranger.wire.take(), "each is answered"

    @precondition(lambda self: self.strangers)
    @rule(at=index)
    def go(self, at: int) -> None:
        self.strangers.pop(at % len(self.strangers)).hang_up()

    def teardown(self) -> None:
        for stranger in self.strangers:
            stranger.hang_up()
        super().teardown()


TestSessionStates = SessionMachine.TestCase
TestSessionStates.settings = settings(max_examples=40, stateful_step_count=40)
