"""Each rule of the protocol's "Sessions", against real processes."""

import asyncio
import base64
import uuid
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from tests.integration.peers import (
    ASR,
    FakeSession,
    Message,
    a_node,
    a_session,
    answer,
    encoded,
    failing,
    hold,
    raw_session,
    until,
)

SETTINGS = {
    "scheduler.web_task_segmentation.pause_ms": 150,
    "scheduler.job_timeout.pending_timeout_seconds": 0.5,
    "scheduler.task_binding.lease_seconds": 2,
    "scheduler.feature_services.persona_adaptation": ["nobody-has-this"],
}

NOT_INIT: list[Message] = [
    {
        "type": "utterance",
        "session_id": "sess-0",
        "utterance_index": 0,
        "manual_cut": True,
        "src_lang": "zh",
        "tgt_lang": "en",
        "audio": "AAAA",
        "audio_format": "pcm16",
        "sample_rate": 16000,
    },
    {
        "type": "audio_chunk",
        "session_id": "sess-0",
        "seq": 0,
        "is_final": True,
        "payload": "AAAA",
    },
    {"type": "client_heartbeat", "session_id": "sess-0", "timestamp": 1},
    {
        "type": "tts_play_ended",
        "session_id": "sess-0",
        "trace_id": "t",
        "group_id": "g",
        "ts_end_ms": 1,
    },
    {"type": "session_close", "session_id": "sess-0", "reason": "done"},
]


def by_type(message: Message) -> str:
    return str(message["type"])


# --- opening -------------------------------------------------------------------------------


async def test_session_init_is_acknowledged_with_an_id_and_a_trace(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        ack = await session.init()
        assert ack["session_id"].startswith("sess-")
        assert len(ack["session_id"]) >= len("sess-") + 8
        assert ack["session_id"] == "sess-" + ack["session_id"][5:].upper()
        assert ack["assigned_node_id"] is None  # only when paired
        assert isinstance(ack["message"], str)
        uuid.UUID(ack["trace_id"])


async def test_the_sessions_own_trace_id_is_kept(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        assert (await session.init(trace_id="trace-1"))["trace_id"] == "trace-1"


@pytest.mark.parametrize("message", NOT_INIT, ids=by_type)
async def test_before_session_init_every_other_message_gets_invalid_session(
    cluster: Cluster, message: Message
) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.send(message["type"], **{k: v for k, v in message.items() if k != "type"})
        await session.expect("error", code="INVALID_SESSION")
        await session.init()  # the connection stays


async def test_before_session_init_binary_audio_gets_invalid_session(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.send_raw(b"\0\0")
        await session.expect("error", code="INVALID_SESSION")
        await session.init()


async def test_a_second_session_init_is_refused_and_the_session_goes_on(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session, a_node(cluster.node_url):
        await session.send("session_init", client_version="1", platform="web")
        await session.expect("error", code="INVALID_MESSAGE")
        await session.send(
            "session_init", client_version="1", platform="web", src_lang="de", tgt_lang="fr"
        )
        await session.expect("error", code="INVALID_MESSAGE")
        await session.speak()
        assert (await session.result())["session_id"] == session.session_id


@pytest.mark.parametrize("message", NOT_INIT, ids=by_type)
async def test_another_sessions_id_gets_invalid_session_and_touches_nothing(
    cluster: Cluster, message: Message
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as victim,
        a_session(cluster.session_url) as intruder,
    ):
        await victim.speak(7)
        job = await node.job()
        fields = {k: v for k, v in message.items() if k != "type"}
        await intruder.send(message["type"], **{**fields, "session_id": victim.session_id})
        await intruder.expect("error", code="INVALID_SESSION")
        await intruder.fence()  # its own connection stays
        await node.fence()
        assert len(node.assigned) == 1
        await node.complete(job)
        await victim.result(7)


# --- what a job looks like -----------------------------------------------------------------


async def test_an_utterance_reaches_the_node_as_it_was_said(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(
            3,
            b"\x01\x02\x03",
            src_lang="ja",
            tgt_lang="ko",
            dialect="osaka",
            audio_format="opus",
            sample_rate=48_000,
            features={"emotion_detection": True, "speech_rate_detection": None},
            mode="two_way_auto",
            lang_a="ja",
            lang_b="ko",
            auto_langs=["ja", "ko"],
            enable_streaming_asr=True,
            partial_update_interval_ms=250,
            trace_id="trace-9",
        )
        job = await node.job()
        assert job.pop("job_id").startswith("job-")
        assert job == {
            "type": "job_assign",
            "attempt_id": 1,
            "session_id": session.session_id,
            "utterance_index": 3,
            "src_lang": "ja",
            "tgt_lang": "ko",
            "dialect": "osaka",
            "features": {"emotion_detection": True},
            "pipeline": {"use_asr": True, "use_nmt": True, "use_tts": True},
            "audio": encoded(b"\x01\x02\x03"),
            "audio_format": "opus",
            "sample_rate": 48_000,
            "mode": "two_way_auto",
            "lang_a": "ja",
            "lang_b": "ko",
            "auto_langs": ["ja", "ko"],
            "enable_streaming_asr": True,
            "partial_update_interval_ms": 250,
            "trace_id": "trace-9",
        }


async def test_what_an_utterance_leaves_out_comes_from_session_init(cluster: Cluster) -> None:
    init: Message = {
        "dialect": "beijing",
        "features": {"emotion_detection": True},
        "mode": "one_way",
        "lang_a": "zh",
        "lang_b": "en",
        "auto_langs": ["zh"],
        "enable_streaming_asr": True,
        "partial_update_interval_ms": 300,
        "trace_id": "trace-of-session",
    }
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url, **init) as session,
    ):
        await session.speak()
        job = await node.job()
        assert {name: job[name] for name in init} == init


async def test_the_pipeline_decides_which_services_a_node_needs(cluster: Cluster) -> None:
    asr_only = {"use_asr": True, "use_nmt": False, "use_tts": False}
    async with (
        a_node(cluster.node_url, hold, (ASR,)) as node,
        a_session(cluster.session_url, pipeline=asr_only) as session,
        a_session(cluster.session_url) as everything,
    ):
        await session.speak()
        assert (await node.job())["pipeline"] == asr_only
        await everything.speak()
        error = await everything.expect("error", code="NO_AVAILABLE_NODE")
        assert error["details"]["excluded"]["service_not_installed"] == 1


async def test_a_pipeline_without_any_stage_is_refused(cluster: Cluster) -> None:
    none = {"use_asr": False, "use_nmt": False, "use_tts": False}
    async with a_session(cluster.session_url, pipeline=none) as session:
        await session.speak()
        await session.expect("error", code="INVALID_MESSAGE")


async def test_asked_features_need_their_services(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak(0, features={"persona_adaptation": True})
        await session.speak(1, features={"persona_adaptation": None})
        await session.expect("error", code="NO_AVAILABLE_NODE")
        await session.result(1)


# --- segmentation --------------------------------------------------------------------------


async def test_an_utterance_ends_on_is_final(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url, audio_format="wav", sample_rate=8_000) as session,
    ):
        await session.chunk(b"one ", seq=0)
        await session.chunk(b"two ", seq=1)
        await session.chunk(b"three", seq=2, final=True)
        job = await node.job()
        assert base64.b64decode(job["audio"]) == b"one two three"
        assert (job["audio_format"], job["sample_rate"]) == ("wav", 8_000)
        assert (job["src_lang"], job["tgt_lang"]) == ("zh", "en")
        assert job["trace_id"] == session.trace_id


async def test_streamed_audio_is_pcm16_at_16_khz_by_default(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(b"speech", final=True)
        job = await node.job()
        assert (job["audio_format"], job["sample_rate"]) == ("pcm16", 16_000)


async def test_an_utterance_ends_by_itself_after_the_pause(cluster: Cluster) -> None:
    cut = cluster.total("utterances_cut_by_pause_total")
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(b"said and ")
        await session.chunk(b"done")
        job = await node.job()
        assert base64.b64decode(job["audio"]) == b"said and done"
        assert cluster.total("utterances_cut_by_pause_total") == cut + 1


async def test_a_final_chunk_after_the_pause_makes_no_second_utterance(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(b"cut by pause")
        await node.job(0)
        await session.chunk(None, final=True)
        await session.chunk(b"next", final=True)
        assert base64.b64decode((await node.job(1))["audio"]) == b"next"


@pytest.mark.parametrize("payload", [None, b""], ids=["null", "empty"])
async def test_an_empty_utterance_makes_no_job(cluster: Cluster, payload: bytes | None) -> None:
    accepted = cluster.totals().accepted
    async with (
        a_node(cluster.node_url) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(payload, final=True)
        await session.chunk(payload)
        await session.chunk(payload, final=True)
        await session.fence()
        assert not session.unread
        await session.chunk(b"speech", final=True)
        assert (await session.result())["utterance_index"] == 0  # it used up no index
        assert len(node.assigned) == 1
    assert cluster.totals().accepted == accepted + 1


async def test_utterance_index_starts_at_0_and_grows_by_one_for_each_cut(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        for expected in range(3):
            await session.chunk(b"speech", final=True)
            assert (await session.event("DISPATCHED", expected))["utterance_index"] == expected
            await session.result(expected)


async def test_utterance_messages_carry_their_own_index(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        await session.speak(41)
        await session.chunk(b"speech", final=True)
        assert (await node.job())["utterance_index"] == 41
        assert (await node.job())["utterance_index"] == 0
        await session.result(41)
        await session.result(0)


async def test_a_chunk_without_session_id_means_the_connections_own_session(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
        a_session(cluster.session_url) as other,
    ):
        await session.chunk(b"mine")
        await other.chunk(b"theirs", session_id=other.session_id)
        await session.chunk(None, final=True, session_id=None)
        await other.chunk(None, final=True)
        jobs = [await node.job(), await node.job()]
        said = {job["session_id"]: base64.b64decode(job["audio"]) for job in jobs}
        assert said == {session.session_id: b"mine", other.session_id: b"theirs"}


async def test_binary_frames_are_audio_and_a_final_chunk_ends_them(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url, audio_format="opus", sample_rate=48_000) as session,
    ):
        await session.send_raw(b"\x00\xff")
        await session.send_raw(b"\xfe\x01")
        await session.send("audio_chunk", seq=2, is_final=True)
        job = await node.job()
        assert base64.b64decode(job["audio"]) == b"\x00\xff\xfe\x01"
        assert job["audio_format"] == "opus"


async def test_binary_frames_end_by_themselves_after_the_pause(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.send_raw(b"raw")
        assert base64.b64decode((await node.job())["audio"]) == b"raw"


# --- one utterance, one job ----------------------------------------------------------------


@pytest.mark.parametrize("names_it", [True, False], ids=["request_id", "default key"])
async def test_a_repeat_gives_the_same_job_and_no_second_dispatch(
    cluster: Cluster, names_it: bool
) -> None:
    fields: Message = {"request_id": "request-1"} if names_it else {"trace_id": "trace-1"}
    accepted = cluster.totals().accepted
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0, **fields)
        job = await node.job()
        for _ in range(3):
            await session.speak(0, **fields)
        await session.fence()
        await node.fence()
        assert len(node.assigned) == 1
        assert cluster.nodes()[node.node_id].in_flight == 1
        await node.complete(job)
        result = await session.result()
        await session.speak(0, **fields)  # also once it is finished
        repeated = await session.expect("ui_event", event="NMT_DONE", elapsed_ms=None)
        assert repeated["job_id"] == result["job_id"] == job["job_id"]
        await node.fence()
        assert len(node.assigned) == 1
    assert cluster.totals().accepted == accepted + 1


async def test_a_repeat_of_a_failed_request_is_told_the_failure(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, failing("NMT_TIMEOUT")) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0, request_id="request-1")
        failed = await session.event("ERROR")
        await session.speak(0, request_id="request-1")
        repeated = await session.event("ERROR")
        assert repeated["job_id"] == failed["job_id"]
        assert repeated["error_code"] == failed["error_code"] == "NMT_TIMEOUT"
        await node.fence()
        assert len(node.assigned) == 1


@pytest.mark.parametrize(
    "other",
    [{"trace_id": "trace-2"}, {"tgt_lang": "fr"}, {"utterance_index": 1}, {"request_id": "r"}],
    ids=lambda other: next(iter(other)),
)
async def test_the_default_key_is_session_index_target_and_trace(
    cluster: Cluster, other: Message
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0, trace_id="trace-1")
        await session.speak(**{"trace_id": "trace-1", **other})
        first, second = await node.job(), await node.job()
        assert first["job_id"] != second["job_id"]


async def test_a_request_id_belongs_to_its_session(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
        a_session(cluster.session_url) as other,
    ):
        await session.speak(request_id="request-1")
        await other.speak(request_id="request-1")
        assert {(await node.job())["session_id"] for _ in range(2)} == {
            session.session_id,
            other.session_id,
        }


async def test_after_the_lease_a_repeat_is_a_new_job(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        await session.speak(request_id="request-1")
        await session.result()

        async def repeat_until_new() -> None:
            while len(node.assigned) == 1:
                await session.speak(request_id="request-1")
                await session.fence()
                await asyncio.sleep(0.1)

        await asyncio.wait_for(repeat_until_new(), 15)
        await session.result()


# --- events and results --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "events"),
    [
        ({}, ["DISPATCHED", "ASR_FINAL", "NMT_DONE"]),
        ({"text_asr": None}, ["DISPATCHED", "NMT_DONE"]),
        ({"text_asr": ""}, ["DISPATCHED", "NMT_DONE"]),
        ({"text_translated": None}, ["DISPATCHED", "ASR_FINAL"]),
        ({"text_asr": None, "text_translated": None}, ["DISPATCHED"]),
    ],
    ids=["both", "no asr", "empty asr", "no translation", "neither"],
)
async def test_events_tell_dispatch_recognition_and_translation_before_the_result(
    cluster: Cluster, result: Message, events: list[str]
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(2)
        job = await node.job()
        await node.complete(job, **result)
        delivered = await session.result(2)
        told = session.take_unread()
        assert [event["event"] for event in told] == events
        for event in told:
            assert event["elapsed_ms"] >= 0
            del event["elapsed_ms"], event["event"]
            assert event == {
                "type": "ui_event",
                "trace_id": session.trace_id,
                "session_id": session.session_id,
                "job_id": job["job_id"],
                "utterance_index": 2,
                "status": "ok",
            }
        assert delivered["text_asr"] == (result.get("text_asr", "asr") or "")
        assert delivered["text_translated"] == (result.get("text_translated", "translated") or "")


async def test_a_result_is_passed_on_whole(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(4, trace_id="trace-4")
        job = await node.job()
        extra = {"emotion": "happy", "speech_rate": 1.25, "voice_style": None, "new": ["x"]}
        await node.complete(
            job,
            text_asr="你好",
            text_translated='hello "you"',
            tts_audio=encoded(b"\x00\x01"),
            tts_format="opus",
            extra=extra,
            group_id="group-1",
            part_index=2,
        )
        assert await session.result(4) == {
            "type": "translation_result",
            "session_id": session.session_id,
            "utterance_index": 4,
            "job_id": job["job_id"],
            "trace_id": "trace-4",
            "text_asr": "你好",
            "text_translated": 'hello "you"',
            "tts_audio": encoded(b"\x00\x01"),
            "tts_format": "opus",
            "extra": extra,
            "group_id": "group-1",
            "part_index": 2,
        }


async def test_a_result_without_speech_has_empty_pcm16(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await node.complete(await node.job(), tts_audio=None, tts_format=None)
        result = await session.result()
        assert (result["tts_audio"], result["tts_format"]) == ("", "pcm16")


async def test_a_final_failure_is_an_error_event_and_the_nodes_own_error(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(5)
        job = await node.job()
        await node.fail(job, "TTS_TIMEOUT", "speech took 9 s", details={"stage": "tts"})
        event = await session.event("ERROR", 5)
        assert (event["status"], event["error_code"]) == ("error", "TTS_TIMEOUT")
        assert event["hint"]
        error = await session.expect("error")
        assert (error["code"], error["message"]) == ("TTS_TIMEOUT", "speech took 9 s")
        assert error["details"]["job_id"] == job["job_id"]
        await session.fence()
        assert [m["event"] for m in session.unread] == ["DISPATCHED"]


async def test_a_nodes_code_that_nobody_knows_is_passed_on_with_a_hint(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, failing("CUSTOM_CODE_7")),
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        event = await session.event("ERROR")
        assert event["error_code"] == "CUSTOM_CODE_7"
        assert event["hint"]
        await session.expect("error", code="CUSTOM_CODE_7")


async def test_a_failure_without_an_error_object_is_an_internal_error(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await node.complete(await node.job(), success=False)
        await session.expect("error", code="INTERNAL_ERROR")


async def test_a_job_that_no_node_can_take_fails_with_the_reasons(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        await session.speak()
        event = await session.event("ERROR")
        assert event["error_code"] == "NO_AVAILABLE_NODE"
        error = await session.expect("error", code="NO_AVAILABLE_NODE")
        assert error["details"]["retry_after_ms"] > 0
        await session.fence()
        assert not session.unread  # never dispatched, so nothing says so


async def test_partial_text_reaches_the_session(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(6)
        job = await node.job()
        await node.partial(job, "你")
        await node.partial(job, "你好", final=True)
        for text, final in (("你", False), ("你好", True)):
            assert await session.expect("asr_partial") == {
                "type": "asr_partial",
                "session_id": session.session_id,
                "utterance_index": 6,
                "job_id": job["job_id"],
                "text": text,
                "is_final": final,
                "trace_id": session.trace_id,
            }


async def test_partial_text_of_an_utterance_that_ended_is_dropped(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        await node.complete(job)
        await session.result()
        await node.partial(job, "late")
        await node.fence()
        await session.fence()
        assert not [m for m in session.unread if m["type"] == "asr_partial"]


# --- order ---------------------------------------------------------------------------------


async def test_results_arrive_in_utterance_order(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        for index in range(4):
            await session.speak(index)
        jobs = [await node.job(index) for index in range(4)]
        for job in reversed(jobs):
            await node.complete(job)
        await session.result(0)
        results = [m for m in session.unread if m["type"] == "translation_result"]
        while len(results) < 3:
            await session.fence()
            results = [m for m in session.unread if m["type"] == "translation_result"]
        assert [m["utterance_index"] for m in results] == [1, 2, 3]


async def test_an_accepted_and_open_utterance_holds_back_later_results(cluster: Cluster) -> None:
    completed = cluster.totals().completed
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await session.speak(1)
        first, second = await node.job(0), await node.job(1)
        await node.complete(second)
        await until(lambda: cluster.totals().completed == completed + 1, "it is completed")
        await session.fence()
        assert [m["event"] for m in session.take_unread()] == ["DISPATCHED", "DISPATCHED"]
        await node.complete(first)
        await session.result(1)
        order = [(m["type"], m["utterance_index"]) for m in session.unread]
        assert order == [
            ("ui_event", 0),
            ("ui_event", 0),
            ("translation_result", 0),
            ("ui_event", 1),
            ("ui_event", 1),
        ]


async def test_an_index_that_was_never_sent_holds_back_nothing(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak(5)
        await session.result(5)
        await session.speak(2)  # and an earlier one may still come
        await session.result(2)


async def test_a_failed_utterance_holds_back_nothing(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await session.speak(1)
        first, second = await node.job(0), await node.job(1)
        await node.complete(second)
        await node.fail(first, "NMT_TIMEOUT")
        await session.event("ERROR", 0)
        await session.result(1)


async def test_an_expired_utterance_holds_back_nothing(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak(0, features={"persona_adaptation": True})
        await session.speak(1)
        await session.result(1)
        assert (await session.event("ERROR", 0))["error_code"] == "NO_AVAILABLE_NODE"


async def test_a_refused_utterance_holds_back_nothing(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak(0, audio=b"")
        await session.expect("error", code="INVALID_MESSAGE")
        await session.speak(1)
        await session.result(1)


async def test_utterances_that_share_an_index_leave_as_they_were_accepted(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        for trace_id in ("first", "second", "third"):
            await session.speak(7, trace_id=trace_id)
        jobs = [await node.job() for _ in range(3)]
        for job in reversed(jobs):
            await node.complete(job)
        results = [await session.result(7) for _ in range(3)]
        assert [result["trace_id"] for result in results] == ["first", "second", "third"]


async def test_sessions_do_not_hold_back_each_other(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as slow,
        a_session(cluster.session_url) as quick,
    ):
        await slow.speak(0)
        await node.job(0)
        await quick.speak(1)
        await node.complete(await node.job(1))
        await quick.result(1)


# --- closing -------------------------------------------------------------------------------


async def _leave_by_close(session: FakeSession) -> None:
    await session.close()


async def _leave_by_abort(session: FakeSession) -> None:
    await session.abort()


async def _leave_by_message(session: FakeSession) -> None:
    await session.send("session_close", session_id=session.session_id, reason="done")
    await session.expect("session_close_ack", session_id=session.session_id)
    assert await session.closed() == 1000


@pytest.mark.parametrize("leave", [_leave_by_close, _leave_by_abort, _leave_by_message])
async def test_closing_cancels_the_sessions_jobs_and_frees_what_it_held(
    cluster: Cluster, leave: Any
) -> None:
    cancelled = cluster.totals().cancelled
    async with (
        a_node(cluster.node_url, hold) as node,
        raw_session(cluster.session_url) as session,
    ):
        await session.init()
        for index in range(3):
            await session.speak(index)
        jobs = [await node.job(index) for index in range(3)]
        assert cluster.nodes()[node.node_id].in_flight == 3
        await leave(session)
        for job in jobs:
            cancel = await node.expect("job_cancel", job_id=job["job_id"])
            assert cancel["reason"]
        await until(lambda: cluster.nodes()[node.node_id].in_flight == 0, "slots are free")
        assert cluster.totals().cancelled == cancelled + 3
        # A node that finishes nevertheless disturbs nobody.
        await node.complete(jobs[0])
        await node.fence()
        assert not [m for m in node.unread if m["type"] == "error"]


async def test_closing_cancels_jobs_that_wait_for_a_node(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.init()
        await session.speak()
        await session.send("session_close", session_id=session.session_id, reason="done")
        await session.expect("session_close_ack")
        assert await session.closed() == 1000
        assert not session.unread
    async with a_node(cluster.node_url) as node:
        await node.fence()
        assert not node.assigned


async def test_closing_drops_the_audio_of_the_utterance_being_spoken(cluster: Cluster) -> None:
    accepted = cluster.totals().accepted
    async with a_node(cluster.node_url), raw_session(cluster.session_url) as session:
        await session.init()
        await session.chunk(b"half a")
        await session.close()
        await asyncio.sleep(0.3)  # twice the pause that would have made it an utterance
    assert cluster.totals().accepted == accepted


async def test_one_sessions_end_leaves_the_others_jobs_alone(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as staying,
        raw_session(cluster.session_url) as leaving,
    ):
        await leaving.init()
        await leaving.speak(1)
        await staying.speak(2)
        await node.job(1)
        job = await node.job(2)
        await leaving.close()
        await node.expect("job_cancel")
        await node.complete(job)
        await staying.result(2)


# --- the rest ------------------------------------------------------------------------------


async def test_a_heartbeat_is_answered(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        await session.send("client_heartbeat", session_id=session.session_id, timestamp=123)
        beat = await session.expect("server_heartbeat", session_id=session.session_id)
        assert beat["timestamp"] > 1_600_000_000_000  # ms since the epoch, of the server


async def test_tts_play_ended_is_taken_silently(cluster: Cluster) -> None:
    before = cluster.total("tts_play_ended_total")
    async with a_session(cluster.session_url) as session:
        await session.send(
            "tts_play_ended",
            session_id=session.session_id,
            trace_id="t",
            group_id="g",
            ts_end_ms=1,
        )
        await session.fence()
        assert not session.unread
        assert cluster.total("tts_play_ended_total") == before + 1


async def test_many_sessions_each_get_their_own_results(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(
                a_node(cluster.node_url, answer, max_concurrent_jobs=100)
            )
        sessions = [
            await stack.enter_async_context(a_session(cluster.session_url)) for _ in range(30)
        ]
        for index in range(4):
            for session in sessions:
                await session.speak(index)
        for session in sessions:
            for index in range(4):
                result = await session.result(index)
                assert result["session_id"] == session.session_id
            ids = {m["session_id"] for m in session.unread}
            assert ids == {session.session_id}
