"""Who may resume, who waits how long, and what is kept of all. Over sockets: tests/integration."""

from types import SimpleNamespace
from typing import Any

import pytest

from scheduler.config import Config, IdentitySettings, LimitSettings
from scheduler.errors import NotAdmitted, PeerError
from scheduler.gateway import resuming
from scheduler.gateway.messages import encode
from scheduler.gateway.reply_tail import Reply
from scheduler.gateway.resuming import (
    Owner,
    Refuse,
    ResumeDesk,
    Resumption,
    gone,
    new_token,
    owner_of,
)
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import SessionResume
from tests.gateway.cancelled import cancelled
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import Wire, World

SECOND_NS = 1_000_000_000
OWNER = Owner(1, 4)


class Counts:
    """Counters and gauges by name."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def add(self, name: str, n: int = 1) -> None:
        self.values[name] = self.values.get(name, 0) + n

    def set(self, name: str, value: int) -> None:
        self.values[name] = value


class Session:
    """A session of the desk, and what became of it."""

    def __init__(self, site: "Site", name: str) -> None:
        self.site = site
        self.name = name
        resumption = site.desk.enroll(name, self)
        assert resumption is not None
        self.resumption = resumption
        self.token = resumption.token
        self.went_on: list[tuple[Any, list[Reply]]] = []
        self.reason: Cancellation | None = None

    def has_ended(self) -> bool:
        return self.reason is not None

    def go_on(self, connection: Any, replies: list[Reply]) -> None:
        self.went_on.append((connection, replies))

    def end_suspended(self, reason: Cancellation) -> None:
        self.reason = reason
        self.site.desk.leave(self.resumption)

    def suspend(self) -> None:
        self.site.desk.suspend(self.resumption)

    def note(self, text: bytes, *, sent: bool) -> None:
        self.site.desk.note(self.resumption, ((text,),), sent=sent)


class Site:
    """A desk of gateway 1 in its fourth start, with a clock that the test sets."""

    def __init__(self, **limits: Any) -> None:
        identity = IdentitySettings(wrong_per_address_max=2, window_seconds=60)
        self.counts = Counts()
        self.context = SimpleNamespace(
            config=Config(limits=LimitSettings(**limits), identity=identity),
            index=1,
            incarnation=4,
            now_ns=SECOND_NS,
            counters=self.counts,
        )
        self.forwarded: list[tuple[Any, int]] = []
        self.forward_error: PeerError | None = None
        self.desk = ResumeDesk(self.context, self._forward)  # type: ignore[arg-type]

    def _forward(self, connection: Any, gateway: int, refuse: Refuse) -> None:
        self.forwarded.append((connection, gateway))
        if self.forward_error is not None:
            refuse(self.forward_error)

    def session(self, name: str = "sess-1") -> Session:
        return Session(self, name)

    def resume(
        self, name: str, token: str, received: int = 0, address: str = "192.0.2.7"
    ) -> tuple[Wire, list[PeerError]]:
        wire, refused = Wire(), list[PeerError]()
        wire.peer_address = address
        resume = SessionResume(name, token, received)
        self.desk.lead(wire, resume, refused.append)  # type: ignore[arg-type]
        return wire, refused

    def refusal(
        self, name: str, token: str, received: int = 0, address: str = "192.0.2.7"
    ) -> NotAdmitted:
        with pytest.raises(NotAdmitted) as caught:
            self.resume(name, token, received, address)
        return caught.value


# --- tokens --------------------------------------------------------------------------------


def test_a_token_says_whose_it_is_and_is_not_another() -> None:
    tokens = {new_token(OWNER) for _ in range(100)}
    assert len(tokens) == 100
    assert {owner_of(token) for token in tokens} == {OWNER}
    assert min(len(token.rpartition(".")[2]) for token in tokens) >= 43


@pytest.mark.parametrize(
    "text",
    ["", "1.4", "1.4.", ".4.x", "-1.4.x", "1.4.x y", "1.4.x\n", "1234.4.x", "1.4.ü", "\u0661.4.x"],
)
def test_what_is_no_token_is_told_apart(text: str) -> None:
    assert owner_of(text) is None


def test_the_token_used_last_is_good_until_the_next_one_is_confirmed() -> None:
    resumption = Resumption("sess-1", OWNER, 100)
    first = resumption.token
    assert resumption.knows(first)
    resumption.renew(first)
    second = resumption.token
    assert second != first
    assert resumption.knows(first)
    assert resumption.knows(second)
    resumption.confirm()
    assert not resumption.knows(first)
    assert resumption.knows(second)
    assert not resumption.knows("ü")


def test_the_one_that_was_used_stays_good_however_often_the_answer_is_lost() -> None:
    resumption = Resumption("sess-1", OWNER, 100)
    first = resumption.token
    for _ in range(3):
        resumption.renew(first)
        assert resumption.knows(first)


# --- taking up again -----------------------------------------------------------------------


def test_a_session_goes_on_with_what_did_not_arrive() -> None:
    site = Site()
    session = site.session()
    session.note(b"a", sent=True)
    session.suspend()
    session.note(b"b", sent=False)
    assert site.counts.values["sessions_suspended"] == 1
    wire, _ = site.resume("sess-1", session.token, 1)
    assert session.went_on == [(wire, [((b"b",),)])]
    assert session.resumption.token != session.token
    assert site.counts.values["sessions_suspended"] == 0
    assert site.counts.values["sessions_resumed_total"] == 1


def test_it_may_be_taken_from_a_socket_that_is_there() -> None:
    site = Site()
    session = site.session()
    wire, _ = site.resume("sess-1", session.token)
    assert session.went_on == [(wire, [])]


def test_whatever_is_wrong_is_answered_alike_and_changes_nothing() -> None:
    site = Site()
    session = site.session()
    other = site.session("sess-2")
    wrong = [
        site.refusal("sess-1", other.token, address="192.0.2.1"),
        site.refusal("sess-3", session.token, address="192.0.2.2"),
        site.refusal("sess-1", "no token", address="192.0.2.3"),
        site.refusal("sess-1", session.token, 1, address="192.0.2.4"),
        site.refusal("", new_token(OWNER), address="192.0.2.5"),
        site.refusal("sess-1", new_token(Owner(1, 3)), address="192.0.2.6"),
    ]
    assert {(error.code, error.message) for error in wrong} == {(gone().code, gone().message)}
    assert site.counts.values["sessions_resume_refused_total"] == len(wrong)
    assert not session.went_on
    site.resume("sess-1", session.token)
    assert session.went_on


def test_guesses_are_limited_by_address() -> None:
    site = Site()
    session = site.session()
    for _ in range(2):
        assert site.refusal("sess-1", new_token(OWNER)).code == ErrorCode.INVALID_SESSION
    limited = site.refusal("sess-1", session.token)
    assert limited.code == ErrorCode.RATE_LIMITED
    assert limited.details == {"retry_after_ms": 60_001}
    site.resume("sess-1", session.token, address="192.0.2.8")
    site.context.now_ns += 60 * SECOND_NS
    site.resume("sess-1", session.resumption.token)
    assert len(session.went_on) == 2


def test_clients_that_come_too_late_are_no_guesses_and_told_so() -> None:
    """After an outage all of those behind one address come at once."""
    site = Site(resume_seconds=1)
    sessions = [site.session(f"sess-{n}") for n in range(5)]
    for session in sessions:
        session.suspend()
    site.desk.sweep(site.context.now_ns + SECOND_NS)
    for session in sessions:
        assert site.refusal(session.name, session.token).code == ErrorCode.INVALID_SESSION
    old = new_token(Owner(1, 3))
    assert [site.refusal("sess-9", old).code for _ in range(5)] == ["INVALID_SESSION"] * 5


def test_sessions_known_to_have_ended_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "ENDED_MAX", 2)
    site = Site()
    for n in range(3):
        session = site.session(f"sess-{n}")
        site.desk.leave(session.resumption)
    for name in ("sess-1", "sess-2", "sess-1", "sess-0", "sess-0"):
        assert site.refusal(name, new_token(OWNER)).code == ErrorCode.INVALID_SESSION
    assert site.refusal("sess-0", new_token(OWNER)).code == ErrorCode.RATE_LIMITED


# --- other gateways ------------------------------------------------------------------------


def test_the_socket_of_anothers_session_is_led_there() -> None:
    site = Site()
    wire, refused = site.resume("sess-1", new_token(Owner(0, 9)))
    assert site.forwarded == [(wire, 0)]
    assert not refused


def test_where_it_can_not_be_led_there_it_is_refused() -> None:
    site = Site()
    site.forward_error = PeerError(ErrorCode.SERVER_BUSY, "behind", {"retry_after_ms": 5})
    _, refused = site.resume("sess-1", new_token(Owner(0, 9)))
    (error,) = refused
    assert isinstance(error, NotAdmitted)
    assert (error.code, error.message, error.details) == (
        "SERVER_BUSY",
        "behind",
        {"retry_after_ms": 5},
    )
    assert site.counts.values["sessions_resume_refused_total"] == 1


def test_a_gateway_that_is_alone_leads_nowhere() -> None:
    site = Site()
    site.desk = ResumeDesk(site.context)  # type: ignore[arg-type]
    assert site.refusal("sess-1", new_token(Owner(0, 4))).code == ErrorCode.INVALID_SESSION


# --- how long, how many, how much ----------------------------------------------------------


def test_turned_off_nobody_may_resume() -> None:
    site = Site(resume_seconds=0)
    assert site.desk.enroll("sess-1", SimpleNamespace()) is None


def test_a_session_that_is_not_resumed_in_time_ends() -> None:
    site = Site(resume_seconds=10)
    first, second = site.session("sess-1"), site.session("sess-2")
    first.suspend()
    site.context.now_ns += SECOND_NS
    second.suspend()
    site.desk.sweep(site.context.now_ns + 9 * SECOND_NS - 1)
    assert not first.has_ended()
    site.desk.sweep(site.context.now_ns + 9 * SECOND_NS)
    assert first.reason == Cancellation.NOT_RESUMED
    assert not second.has_ended()
    assert site.counts.values["sessions_suspended"] == 1


def test_the_time_begins_anew_with_each_socket_that_is_lost() -> None:
    site = Site(resume_seconds=10)
    session = site.session()
    session.suspend()
    site.resume("sess-1", session.token)
    site.desk.sweep(site.context.now_ns + 100 * SECOND_NS)
    assert not session.has_ended()
    site.context.now_ns += 100 * SECOND_NS
    session.suspend()
    site.desk.sweep(site.context.now_ns + 9 * SECOND_NS)
    assert not session.has_ended()


def test_of_too_many_the_one_that_waits_longest_ends() -> None:
    site = Site(suspended_sessions_max=2)
    sessions = [site.session(f"sess-{n}") for n in range(3)]
    for session in sessions:
        session.suspend()
    assert [session.has_ended() for session in sessions] == [True, False, False]


def test_one_for_which_too_much_waits_ends_with_the_next_sweep() -> None:
    site = Site(suspended_bytes_max=1_024)
    waiting, session = site.session("sess-0"), site.session()
    waiting.suspend()
    session.suspend()
    session.note(bytes(1_000), sent=False)
    session.note(bytes(1_000), sent=False)
    assert not session.has_ended()
    site.desk.sweep(site.context.now_ns)
    assert session.has_ended()
    assert not waiting.has_ended()


def test_what_was_too_much_before_the_socket_was_known_to_be_lost_ends_it_too() -> None:
    site = Site(suspended_bytes_max=1_024)
    session = site.session()
    session.note(bytes(2_000), sent=False)
    session.suspend()
    site.desk.sweep(site.context.now_ns)
    assert session.has_ended()


def test_all_that_wait_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "WAITING_BYTES_MAX", 2_500)
    site = Site()
    sessions = [site.session(f"sess-{n}") for n in range(3)]
    for session in sessions:
        session.suspend()
        session.note(bytes(1_000), sent=False)
    site.desk.sweep(site.context.now_ns)
    assert [session.has_ended() for session in sessions] == [True, False, False]
    site.resume("sess-1", sessions[1].token)  # which counts no longer
    sessions[2].note(bytes(1_000), sent=False)
    site.desk.sweep(site.context.now_ns)
    assert not sessions[2].has_ended()


def test_those_with_sockets_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "TAILS_BYTES_MAX", 2_500)
    site = Site()
    first, second = site.session("sess-1"), site.session("sess-2")
    for session in (first, second, second):
        session.note(bytes(1_000), sent=True)
    assert site.refusal("sess-1", first.token).code == ErrorCode.INVALID_SESSION
    site.resume("sess-1", first.token, 1)
    assert first.went_on[0][1] == []


# --- as a session does it ------------------------------------------------------------------


def lose(session: Any) -> None:
    session.wire.is_open = False
    session.hang_up()


def test_a_drain_ends_the_sessions_that_wait_and_their_jobs(world: World) -> None:
    """Their gateway goes, and they can't outlive it."""
    node, session = world.node(), world.session(resumable=True)
    session.speak()
    (job,) = node.jobs()
    lose(session)
    assert world.count("sessions_suspended") == 1
    world.gateways[0].drain()
    world.settle()
    assert not world.gateways[0].has_sessions
    assert [(m["type"], m["job_id"]) for m in node.wire.take()] == [("job_cancel", job["job_id"])]
    assert cancelled(world.segment.views) == {"shutdown": 1}
    assert (world.count("sessions"), world.count("sessions_suspended")) == (0, 0)


def test_a_session_that_loses_its_socket_while_its_gateway_drains_ends(world: World) -> None:
    node, session = world.node(), world.session(resumable=True)
    session.speak()
    (job,) = node.jobs()
    world.gateways[0].drain()
    assert world.count("sessions") == 1
    lose(session)
    assert not world.gateways[0].has_sessions
    assert [(m["type"], m["job_id"]) for m in node.wire.take()] == [("job_cancel", job["job_id"])]
    assert cancelled(world.segment.views) == {"shutdown": 1}


def test_a_session_that_waits_keeps_its_row_and_gives_it_back(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(sessions_per_gateway_max=1)))
    session = world.session(resumable=True)
    lose(session)
    opened = world.segment.views.column("sessions", "open")
    assert opened.tolist() == [1]
    refused = world.session()
    assert refused.wire.take()[0]["code"] == "SERVER_BUSY"
    session.peer.end_suspended(Cancellation.NOT_RESUMED)
    assert opened.tolist() == [0]
    assert world.session().session_id


def test_while_its_gateway_drains_a_session_may_still_get_another_socket(world: World) -> None:
    node, session = world.node(), world.session(resumable=True)
    (ack,) = session.wire.take()
    session.id = ack["session_id"]
    session.speak()
    (job,) = node.jobs()
    world.gateways[0].drain()
    again, other = Wire(), Wire()
    peer = world.gateways[0].relayed_session(again)  # type: ignore[arg-type]
    resume = SessionResume(ack["session_id"], ack["resume_token"], 0)
    peer.on_text(encode(resume))
    node.answer(job)
    assert session.wire.closed == (1000, "the session was resumed on another connection")
    types = [message["type"] for message in again.take()]
    assert types == ["session_init_ack", "ui_event", "ui_event", "translation_result", "error"]
    assert again.closed == (1012, "service restart")
    late = world.gateways[0].relayed_session(other)  # type: ignore[arg-type]
    late.on_text(encode(SessionResume("sess-0", ack["resume_token"], 0)))
    assert other.take()[0]["code"] == "INVALID_SESSION"
    assert other.closed == (1008, "INVALID_SESSION")
