"""Utterances become jobs, and outcomes become messages, in order."""

from typing import Any

import pytest

from scheduler.config import (
    Config,
    LimitSettings,
    SchedulerSettings,
    ServerSettings,
    TaskBindingSettings,
)
from scheduler.protocol.codes import ErrorCode, hint
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import SPEECH, World


def test_the_job_carries_what_utterance_and_session_say(world: World) -> None:
    node = world.node()
    session = world.session(
        dialect="us",
        mode="two_way_auto",
        lang_a="en",
        lang_b="es",
        auto_langs=["en", "es"],
        enable_streaming_asr=True,
        partial_update_interval_ms=300,
        pipeline={"use_tts": False},
        features={"emotion_detection": True, "speaker_identification": None},
        trace_id="session-trace",
    )
    session.speak(4, dialect="uk", trace_id=None, audio_format="opus", sample_rate=48000)
    (job,) = node.jobs()
    job_id = job.pop("job_id")
    assert job_id.startswith("job-")
    assert job == {
        "type": "job_assign",
        "attempt_id": 1,
        "session_id": session.session_id,
        "utterance_index": 4,
        "src_lang": "en",
        "tgt_lang": "es",
        "dialect": "uk",
        "features": {"emotion_detection": True},
        "pipeline": {"use_asr": True, "use_nmt": True, "use_tts": False},
        "audio": SPEECH,
        "audio_format": "opus",
        "sample_rate": 48000,
        "mode": "two_way_auto",
        "lang_a": "en",
        "lang_b": "es",
        "auto_langs": ["en", "es"],
        "enable_streaming_asr": True,
        "partial_update_interval_ms": 300,
        "trace_id": "session-trace",
    }


def test_success_is_told_as_events_and_result(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(2)
    node.answer(node.jobs()[0], extra={"emotion": "calm"}, group_id="g", part_index=1)
    dispatched, asr, nmt, result = session.heard()
    assert [m["event"] for m in (dispatched, asr, nmt)] == ["DISPATCHED", "ASR_FINAL", "NMT_DONE"]
    assert all(m["status"] == "ok" and m["elapsed_ms"] >= 0 for m in (dispatched, asr, nmt))
    assert {m["job_id"] for m in (dispatched, asr, nmt, result)} == {result["job_id"]}
    assert result["type"] == "translation_result"
    assert result["utterance_index"] == 2
    assert (result["text_asr"], result["text_translated"]) == ("hello", "hola")
    assert (result["tts_audio"], result["tts_format"]) == ("AAAA", "pcm16")
    assert (result["extra"], result["group_id"], result["part_index"]) == (
        {"emotion": "calm"},
        "g",
        1,
    )


@pytest.mark.parametrize(
    ("fields", "events"),
    [
        ({"text_asr": None}, ["DISPATCHED", "NMT_DONE", "translation_result"]),
        ({"text_translated": ""}, ["DISPATCHED", "ASR_FINAL", "translation_result"]),
        ({"text_asr": "", "text_translated": None}, ["DISPATCHED", "translation_result"]),
    ],
)
def test_events_are_sent_for_what_there_is(
    world: World, fields: dict[str, Any], events: list[str]
) -> None:
    node, session = world.node(), world.session()
    session.speak()
    node.answer(node.jobs()[0], **fields)
    assert session.heard_types() == events


def test_failure_is_told_as_event_and_the_nodes_own_error(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    node.fail(node.jobs()[0], "NMT_TIMEOUT", after=3)
    _, event, error = session.heard()
    assert (event["event"], event["status"], event["error_code"]) == (
        "ERROR",
        "error",
        "NMT_TIMEOUT",
    )
    assert event["hint"] == hint("NMT_TIMEOUT")
    assert (error["code"], error["message"]) == ("NMT_TIMEOUT", "NMT_TIMEOUT happened")
    assert error["details"]["node_details"] == {"after": 3}
    assert error["details"]["job_id"] == event["job_id"]


def test_hints_may_be_in_the_operators_language(make_world: MakeWorld) -> None:
    hints = {ErrorCode.NMT_TIMEOUT: "Zu langsam."}
    world = make_world(Config(server=ServerSettings(hints=hints)))
    node, session = world.node(), world.session()
    for index, code in enumerate(("NMT_TIMEOUT", "TTS_TIMEOUT", "NO_SUCH_CODE")):
        session.speak(index)
        node.fail(node.jobs()[0], code)
    told = [m["hint"] for m in session.heard() if "hint" in m]
    assert told == ["Zu langsam.", hint("TTS_TIMEOUT"), hint("INTERNAL_ERROR")]


def test_results_leave_in_utterance_order(world: World) -> None:
    node, session = world.node(), world.session()
    for index in (0, 1, 2):
        session.speak(index)
    first, second, third = node.jobs()
    node.answer(third)
    node.answer(second)
    assert "translation_result" not in session.heard_types()
    node.answer(first)
    results = [m["utterance_index"] for m in session.heard() if m["type"] == "translation_result"]
    assert results == [0, 1, 2]


def test_a_failed_utterance_holds_back_nothing(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(0)
    session.speak(1)
    first, second = node.jobs()
    node.answer(second)
    session.heard()
    node.fail(first, "TTS_TIMEOUT")
    assert session.heard_types() == [
        "ERROR",
        "error",
        "ASR_FINAL",
        "NMT_DONE",
        "translation_result",
    ]


def test_a_repeat_is_no_second_job(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(0, request_id="r")
    session.speak(5, request_id="r")
    session.speak(0)
    session.speak(0)
    first, second = node.jobs()
    assert (first["utterance_index"], second["utterance_index"]) == (0, 0)
    assert world.count("jobs_repeated_total") == 2
    session.heard()
    node.answer(first)
    session.heard()
    session.speak(0, request_id="r")
    assert node.jobs() == []
    (event,) = session.heard()
    assert (event["event"], event["job_id"]) == ("NMT_DONE", first["job_id"])


def test_a_repeat_of_a_failed_request_is_told_how_it_failed(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(0)
    node.fail(node.jobs()[0], "TTS_TIMEOUT")
    session.heard()
    session.speak(0)
    (event,) = session.heard()
    assert (event["event"], event["error_code"]) == ("ERROR", "TTS_TIMEOUT")


def test_a_repeat_is_a_repeat_also_where_nothing_new_is_taken(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(jobs_per_session_max=1)))
    node, session = world.node(), world.session()
    session.speak(0)
    session.speak(0)
    world.contexts[0].draining = True
    session.speak(0)
    assert [m["type"] for m in session.heard()] == ["ui_event"]
    assert len(node.jobs()) == 1
    assert world.count("jobs_repeated_total") == 2


def test_many_requests_later_a_repeat_is_still_one(world: World) -> None:
    node, session = world.node(), world.session()
    for index in range(200):
        session.speak(index)
        node.answer(node.jobs()[0])
    session.heard()
    session.speak(0)
    assert [m["event"] for m in session.heard()] == ["NMT_DONE"]


def test_bytes_held_for_jobs_are_bounded_in_all(make_world: MakeWorld) -> None:
    limits = LimitSettings(arena_bytes=6 << 20, utterance_bytes_max=1 << 20)
    world = make_world(Config(limits=limits))
    big = "A" * (1 << 20)
    told = []
    for _ in range(7):
        session = world.session()
        session.speak(0, audio=big)
        told += session.heard()
    assert [m["code"] for m in told] == ["SERVER_BUSY", "SERVER_BUSY"]
    assert told[0]["details"]["retry_after_ms"] > 0
    assert world.count("jobs_live") == 5


def test_a_job_that_found_no_other_node_is_told_both_why(world: World) -> None:
    node, session = world.node(), world.session()
    other = world.node(capability_state={"node-inference": "ready"}, ready=False)
    assert other.node_id
    session.speak()
    (job,) = node.jobs()
    node.hang_up()
    world.tick(later_seconds=11)
    event, error = session.heard()[-2:]
    assert event["error_code"] == error["code"] == "NODE_UNAVAILABLE"
    assert error["details"]["excluded"]
    assert error["details"]["retry_after_ms"] > 0
    assert error["details"]["job_id"] == job["job_id"]


def test_another_target_language_or_trace_is_another_request(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(0)
    session.speak(0, tgt_lang="fr")
    session.speak(0, trace_id="other")
    assert len(node.jobs()) == 3


def test_a_request_refused_for_want_of_room_may_be_tried_again(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(pending_per_class_max=1)))
    session = world.session()
    session.speak(0)
    session.speak(1)
    *_, busy = session.heard()
    assert busy["code"] == "SERVER_BUSY"
    assert busy["details"]["retry_after_ms"] > 0
    node = world.node()
    assert len(node.jobs()) == 1
    session.speak(1)
    assert len(node.jobs()) == 1


def test_a_session_may_have_so_many_unfinished_jobs(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(jobs_per_session_max=2)))
    session = world.session()
    for index in range(3):
        session.speak(index)
    (error,) = session.heard()
    assert error["code"] == "SERVER_BUSY"
    assert "limits.jobs_per_session_max" in error["message"]
    assert error["details"]["utterance_index"] == 2
    assert world.count("jobs_refused_total") == 1
    assert world.count("jobs_live") == 2


def test_a_sessions_jobs_may_hold_so_much_audio(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(audio_bytes_per_session_max=1_000)))
    session, other = world.session(), world.session()
    session.speak(0, audio="a" * 400)
    session.speak(1, audio="b" * 500)
    session.speak(2, audio="c" * 100)
    (error,) = session.heard()
    assert error["code"] == "SERVER_BUSY"
    assert "limits.audio_bytes_per_session_max" in error["message"]
    assert error["details"]["utterance_index"] == 2
    other.speak(0, audio="d" * 900)
    assert world.count("jobs_live") == 3
    node = world.node()
    node.answer(next(job for job in node.jobs() if job["audio"] == "a" * 400))
    session.speak(2, audio="c" * 400)
    session.speak(3, audio="e" * 100)
    assert (world.count("jobs_live"), world.count("jobs_refused_total")) == (3, 2)


def test_a_single_job_may_hold_more_audio_than_a_sessions_jobs(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(audio_bytes_per_session_max=1_000)))
    session = world.session()
    session.speak(0, audio="a" * 3_000)
    assert session.heard() == []
    assert world.count("jobs_live") == 1


def test_held_results_count_against_the_bound(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(jobs_per_session_max=2)))
    node, session = world.node(), world.session()
    session.speak(0)
    session.speak(1)
    node.answer(node.jobs()[1])
    session.heard()
    session.speak(2)
    assert [m["code"] for m in session.heard()] == ["SERVER_BUSY"]


def test_a_pipeline_without_stages_is_refused(world: World) -> None:
    session = world.session(pipeline={"use_asr": False, "use_nmt": False, "use_tts": False})
    session.speak()
    (error,) = session.heard()
    assert error["code"] == "INVALID_MESSAGE"
    assert "use_asr" in error["message"]


def test_spreading_passes_over_the_last_node_while_others_are_free(
    make_world: MakeWorld,
) -> None:
    binding = TaskBindingSettings(spread_enabled=True)
    world = make_world(Config(scheduler=SchedulerSettings(task_binding=binding)))
    session = world.session()
    alone = world.node()
    for index in range(2):  # alone, it is used again
        session.speak(index)
        node_job = alone.jobs()[0]
        alone.answer(node_job)
    other = world.node()
    session.speak(2)
    assert (len(alone.jobs()), len(other.jobs())) == (0, 1)


def test_a_refusal_for_want_of_nodes_says_what_excluded_them(make_world: MakeWorld) -> None:
    world = make_world()
    world.node(ready=False)
    world.node(services=["other"])
    session = world.session()
    session.speak()
    assert session.heard() == []
    world.tick(later_seconds=11)
    event, error = session.heard()
    assert event["error_code"] == error["code"] == "NO_AVAILABLE_NODE"
    assert error["details"]["excluded"] == {"not_ready": 1, "service_not_installed": 1}
