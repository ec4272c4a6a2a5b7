"""A session's socket, message by message. The rules over real sockets: tests/integration."""

import base64
from typing import Any

import pytest

from scheduler.config import Config, SchedulerSettings, SegmentationSettings
from tests.gateway.cancelled import cancelled
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import FakeSession, World


def chunk(session: FakeSession, payload: bytes | None, *, final: bool = False) -> None:
    encoded = None if payload is None else base64.b64encode(payload).decode()
    session.say(type="audio_chunk", seq=0, is_final=final, payload=encoded)
    session.world.settle()


def test_the_ack_names_session_and_trace(world: World) -> None:
    session = world.session(trace_id="mine")
    (ack,) = session.wire.take()
    assert ack["type"] == "session_init_ack"
    assert ack["session_id"].startswith("sess-")
    assert ack["assigned_node_id"] is None
    assert ack["trace_id"] == "mine"
    assert session.wire.identified


def test_before_session_init_everything_else_is_refused(world: World) -> None:
    session = FakeSession(world, 0)
    session.say(type="client_heartbeat", session_id="x", timestamp=1)
    session.peer.on_binary(b"audio")
    assert [m["code"] for m in session.wire.take()] == ["INVALID_SESSION"] * 2


def test_a_second_session_init_is_refused(world: World) -> None:
    session = world.session()
    assert session.session_id
    session.say(type="session_init", client_version="1", platform="web", src_lang="a", tgt_lang="b")
    assert [m["code"] for m in session.heard()] == ["INVALID_MESSAGE"]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "client_heartbeat", "timestamp": 1},
        {"type": "session_close", "reason": "x"},
        {"type": "audio_chunk", "seq": 0, "is_final": True, "payload": "AAAA"},
        {"type": "tts_play_ended", "trace_id": "t", "group_id": "g", "ts_end_ms": 1},
    ],
)
def test_a_borrowed_session_id_touches_nothing(world: World, message: dict[str, Any]) -> None:
    victim, thief = world.session(), world.session()
    assert thief.session_id
    thief.say(**message, session_id=victim.session_id)
    assert [m["code"] for m in thief.heard()] == ["INVALID_SESSION"]
    assert victim.heard() == []
    assert victim.wire.closed is None


def test_chunks_are_joined_and_numbered_from_zero(world: World) -> None:
    node, session = world.node(), world.session()
    chunk(session, b"ab")
    session.peer.on_binary(b"cd")
    chunk(session, None, final=True)
    chunk(session, b"ef", final=True)
    first, second = node.jobs()
    assert base64.b64decode(first["audio"]) == b"abcd"
    assert (first["audio_format"], first["sample_rate"]) == ("pcm16", 16000)
    assert [first["utterance_index"], second["utterance_index"]] == [0, 1]
    assert world.count("utterances_cut_by_final_total") == 2


def test_an_empty_utterance_makes_no_job(world: World) -> None:
    node, session = world.node(), world.session()
    chunk(session, None, final=True)
    chunk(session, b"", final=True)
    chunk(session, b"x", final=True)
    (job,) = node.jobs()
    assert job["utterance_index"] == 0


def test_a_pause_ends_the_utterance(make_world: MakeWorld) -> None:
    settings = SchedulerSettings(web_task_segmentation=SegmentationSettings(pause_ms=1))
    world = make_world(Config(scheduler=settings))
    node, session = world.node(), world.session()
    chunk(session, b"ab")
    chunk(session, b"cd")
    for _ in range(1_000):
        world.loop.call_later(0.001, world.loop.stop)
        world.loop.run_forever()
        if world.count("utterances_cut_by_pause_total"):
            break
    world.settle()
    (job,) = node.jobs()
    assert base64.b64decode(job["audio"]) == b"abcd"


def test_a_payload_that_is_no_base64_is_refused_and_the_session_goes_on(world: World) -> None:
    session = world.session()
    assert session.session_id
    session.say(type="audio_chunk", seq=0, is_final=False, payload="!!")
    session.say(type="client_heartbeat", session_id=session.session_id, timestamp=1)
    refusal, heartbeat = session.heard()
    assert refusal["code"] == "INVALID_MESSAGE"
    assert (heartbeat["type"], heartbeat["session_id"]) == ("server_heartbeat", session.session_id)


def test_session_close_is_acknowledged_and_cancels(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    (job,) = node.jobs()
    session.heard()
    session.say(type="session_close", session_id=session.session_id, reason="done")
    world.settle()
    assert session.heard_types() == ["session_close_ack"]
    assert session.wire.closed == (1000, "session closed")
    (cancel,) = node.wire.take()
    assert (cancel["type"], cancel["job_id"]) == ("job_cancel", job["job_id"])
    assert cancel["reason"] == "the session closed"
    session.hang_up()
    assert world.count("jobs_cancelled_total") == 1
    assert cancelled(world.segment.views) == {"session_closed": 1}
    assert world.count("sessions") == 0


def test_a_closed_socket_frees_everything(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    chunk(session, b"half an utterance")
    session.hang_up()
    assert [m["type"] for m in node.wire.take() if m["type"] == "job_cancel"] == ["job_cancel"]
    assert world.count("jobs_live") == world.count("sessions") == 0
    assert cancelled(world.segment.views) == {"connection_closed": 1}
    assert not world.gateways[0].has_sessions


def test_tts_play_ended_is_counted(world: World) -> None:
    session = world.session()
    session.say(
        type="tts_play_ended",
        session_id=session.session_id,
        trace_id="t",
        group_id="g",
        ts_end_ms=1,
    )
    assert session.heard() == []
    assert world.count("tts_play_ended_total") == 1


def test_pairing_holds_messages_until_it_is_answered(world: World) -> None:
    node = world.node(accept_public_jobs=False)
    node.say(type="request_pairing_code")
    world.settle()
    code = next(m["code"] for m in node.wire.take() if m["type"] == "pairing_code")
    session = FakeSession(world, 0)
    session.say(
        type="session_init",
        client_version="1",
        platform="web",
        src_lang="en",
        tgt_lang="es",
        pairing_code=code,
    )
    session.say(type="audio_chunk", seq=0, is_final=True, payload="AAAA")
    world.settle()
    (ack, _) = session.wire.take()
    assert ack["assigned_node_id"] == node.node_id
    assert len(node.jobs()) == 1


def test_an_empty_pairing_code_is_none(world: World) -> None:
    session = world.session(pairing_code="")
    (ack,) = session.wire.take()
    assert (ack["type"], ack["assigned_node_id"]) == ("session_init_ack", None)


def test_a_wrong_pairing_code_opens_nothing_and_may_be_corrected(world: World) -> None:
    session = world.session(pairing_code="000000")
    (error,) = session.wire.take()
    assert error["code"] == "INVALID_PAIRING_CODE"
    assert world.count("sessions") == 0
    session.say(
        type="session_init", client_version="1", platform="web", src_lang="en", tgt_lang="es"
    )
    assert session.session_id


def test_a_flood_while_pairing_is_refused(world: World) -> None:
    session = FakeSession(world, 0)
    session.say(
        type="session_init",
        client_version="1",
        platform="web",
        src_lang="en",
        tgt_lang="es",
        pairing_code="1",
    )
    for _ in range(65):
        session.peer.on_binary(b"x")
    (error,) = session.wire.take()
    assert error["code"] == "SERVER_BUSY"


def test_bytes_held_while_pairing_are_bounded(world: World) -> None:
    session = FakeSession(world, 0)
    session.say(
        type="session_init",
        client_version="1",
        platform="web",
        src_lang="en",
        tgt_lang="es",
        pairing_code="1",
    )
    for _ in range(3):
        session.peer.on_binary(bytes(3 << 20))
    assert [m["code"] for m in session.wire.take()] == ["SERVER_BUSY"]


def test_a_pause_does_not_run_while_the_client_can_not_be_heard(make_world: MakeWorld) -> None:
    settings = SchedulerSettings(web_task_segmentation=SegmentationSettings(pause_ms=1))
    world = make_world(Config(scheduler=settings))
    session = world.session()
    session.wire.is_reading_paused = True
    chunk(session, b"ab")
    for _ in range(20):
        world.loop.call_later(0.001, world.loop.stop)
        world.loop.run_forever()
    assert world.count("utterances_cut_by_pause_total") == 0
    session.wire.is_reading_paused = False
    for _ in range(1_000):
        world.loop.call_later(0.001, world.loop.stop)
        world.loop.run_forever()
        if world.count("utterances_cut_by_pause_total"):
            break
    assert world.count("jobs_accepted_total") == 1


def test_a_session_whose_handshake_ends_while_draining_is_closed(world: World) -> None:
    world.gateways[0].drain()
    late = FakeSession(world, 0)
    assert late.wire.closed == (1012, "service restart")


def test_draining_refuses_new_work_and_closes_once_idle(world: World) -> None:
    node, busy, idle = world.node(), world.session(), world.session()
    busy.speak()
    (job,) = node.jobs()
    busy.heard()
    world.gateways[0].drain()
    assert idle.wire.closed == (1012, "service restart")
    assert busy.wire.closed is None
    busy.speak(1)
    assert [m["code"] for m in busy.heard()] == ["SERVER_SHUTDOWN"]
    node.answer(job)
    assert "translation_result" in busy.heard_types()
    assert busy.wire.closed == (1012, "service restart")


def lose(session: FakeSession) -> None:
    session.wire.is_open = False
    session.hang_up()


def resume(world: World, ack: dict[str, Any]) -> FakeSession:
    """Take a session up on another socket."""
    again = FakeSession(world, 0)
    again.say(
        type="session_resume",
        session_id=ack["session_id"],
        resume_token=ack["resume_token"],
        replies_received=0,
    )
    return again


def test_what_was_cut_is_known_after_the_pause_was_looked_for_once_more(
    make_world: MakeWorld,
) -> None:
    settings = SchedulerSettings(web_task_segmentation=SegmentationSettings(pause_ms=1))
    world = make_world(Config(scheduler=settings))
    session = world.session(resumable=True)
    (ack,) = session.wire.take()
    session.say(type="audio_chunk", seq=6, is_final=False, payload="AAAA")
    session.say(type="audio_chunk", seq=7, is_final=True)
    for _ in range(1_000):
        world.loop.call_later(0.001, world.loop.stop)
        world.loop.run_forever()
        if session.peer._pause_timer is None:
            break
    lose(session)
    (again,) = resume(world, ack).wire.take()
    assert (again["cut_seq"], again["received_seq"], again["next_utterance_index"]) == (7, None, 1)


def test_a_refusal_while_there_is_no_socket_is_told_on_the_next(world: World) -> None:
    session = world.session(resumable=True)
    (ack,) = session.wire.take()
    session.say(type="audio_chunk", seq=0, is_final=False, payload="AAAA")
    lose(session)
    session.peer.give_up()
    resumed, refusal = resume(world, ack).wire.take()
    assert (resumed["received_seq"], resumed["received_bytes"]) == (0, 0)
    assert (refusal["type"], refusal["code"]) == ("error", "SERVER_BUSY")
