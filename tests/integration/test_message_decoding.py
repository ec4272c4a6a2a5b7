"""What existing clients and nodes may send: nulls, gaps and surplus; and what is refused."""

import json
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from tests.integration.peers import (
    ASR,
    CORE_SERVICES,
    Message,
    a_node,
    a_session,
    encoded,
    hold,
    installed,
    raw_node,
    raw_session,
    registration,
)

SETTINGS = {
    "limits.messages_per_second_max": 100_000,
    "limits.nodes_max": 4_096,
    "limits.sessions_per_gateway_max": 4_096,
}

SESSION_INIT: Message = {
    "type": "session_init",
    "client_version": "1.0",
    "platform": "api-gateway",
    "src_lang": "auto",
    "tgt_lang": "en",
    "dialect": "x",
    "features": {"emotion_detection": True, "voice_style_detection": None},
    "tenant_id": "tenant-1",
    "mode": "two_way_auto",
    "lang_a": "zh",
    "lang_b": "en",
    "auto_langs": ["zh", "en"],
    "enable_streaming_asr": True,
    "partial_update_interval_ms": 200,
    "trace_id": "trace-1",
    "pipeline": {"use_asr": True, "use_nmt": None, "use_tts": True},
    "audio_format": "pcm16",
    "sample_rate": 16_000,
    "token": "token-1",
}
SESSION_INIT_REQUIRED = ("client_version", "platform", "src_lang", "tgt_lang")

UTTERANCE: Message = {
    "type": "utterance",
    "utterance_index": 0,
    "manual_cut": False,
    "src_lang": "zh",
    "tgt_lang": "en",
    "dialect": "x",
    "features": {"emotion_detection": False},
    "audio": encoded(b"speech"),
    "audio_format": "pcm16",
    "sample_rate": 16_000,
    "mode": "one_way",
    "lang_a": "zh",
    "lang_b": "en",
    "auto_langs": [],
    "enable_streaming_asr": False,
    "partial_update_interval_ms": 0,
    "trace_id": "trace-1",
    "request_id": "request-1",
}
UTTERANCE_REQUIRED = (
    "session_id",
    "utterance_index",
    "manual_cut",
    "src_lang",
    "tgt_lang",
    "audio",
    "audio_format",
    "sample_rate",
)

MODEL: Message = {
    "model_id": "m",
    "kind": "nmt",
    "src_lang": "zh",
    "tgt_lang": "en",
    "dialect": "x",
    "version": "1",
    "enabled": True,
}
NODE_REGISTER: Message = {
    "type": "node_register",
    **registration(),
    "node_id": "node-DECODED",
    "installed_models": [MODEL],
    "advanced_features": ["x"],
    "capability_state": dict.fromkeys(CORE_SERVICES, "ready"),
    "max_concurrent_jobs": 2,
    "name": "a node",
    "token": "token-1",
}
NODE_REGISTER_REQUIRED = (
    "version",
    "platform",
    "hardware",
    "installed_models",
    "features_supported",
    "accept_public_jobs",
)

HEARTBEAT: Message = {
    "type": "node_heartbeat",
    "timestamp": 1,
    "resource_usage": {
        "cpu_percent": 1.5,
        "gpu_percent": 2,
        "gpu_mem_percent": 3,
        "mem_percent": 4,
        "running_jobs": 0,
    },
    "installed_models": [MODEL],
    "installed_services": installed(*CORE_SERVICES),
    "capability_state": dict.fromkeys(CORE_SERVICES, "ready"),
}
HEARTBEAT_REQUIRED = ("node_id", "timestamp", "resource_usage")

JOB_RESULT: Message = {
    "success": True,
    "text_asr": "asr",
    "text_translated": "translated",
    "tts_audio": encoded(b"tts"),
    "tts_format": "pcm16",
    "extra": {"emotion": None, "speech_rate": 1.0},
    "processing_time_ms": 12.5,
    "error": None,
    "group_id": "g",
    "part_index": 0,
}
JOB_RESULT_REQUIRED = (
    "job_id",
    "attempt_id",
    "node_id",
    "session_id",
    "utterance_index",
    "success",
    "trace_id",
)


def optional(message: Message, required: tuple[str, ...]) -> list[str]:
    return [name for name in message if name != "type" and name not in required]


def without(message: Message, name: str, value: Any) -> Message:
    """Return the message with a field of that value, or without it where that is ... ."""
    changed = {**message, name: value}
    if value is ...:
        del changed[name]
    return changed


NOT_GIVEN = pytest.mark.parametrize("value", [None, ...], ids=["null", "missing"])


# --- optional fields may be missing or null -------------------------------------------------


@NOT_GIVEN
@pytest.mark.parametrize("name", [*optional(SESSION_INIT, SESSION_INIT_REQUIRED), "pairing_code"])
async def test_session_init_takes_what_is_not_given(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.send_raw(json.dumps(without({**SESSION_INIT, name: None}, name, value)))
        assert (await session.expect("session_init_ack"))["assigned_node_id"] is None


@NOT_GIVEN
@pytest.mark.parametrize("name", optional(UTTERANCE, UTTERANCE_REQUIRED))
async def test_utterance_takes_what_is_not_given(cluster: Cluster, name: str, value: Any) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        whole = {**UTTERANCE, "session_id": session.session_id}
        await session.send_raw(json.dumps(without(whole, name, value)))
        job = await node.job()
        if name == "trace_id":
            assert job["trace_id"] == session.trace_id
        else:
            assert name not in job  # nothing is made up, and no null is passed on


@NOT_GIVEN
@pytest.mark.parametrize("name", ["session_id", "payload"])
async def test_audio_chunk_takes_what_is_not_given(cluster: Cluster, name: str, value: Any) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.chunk(b"speech")
        last = {"type": "audio_chunk", "session_id": session.session_id, "payload": "AAAA"}
        await session.send_raw(
            json.dumps({**without(last, name, value), "seq": 1, "is_final": True})
        )
        await session.result()


@NOT_GIVEN
@pytest.mark.parametrize("name", optional(NODE_REGISTER, NODE_REGISTER_REQUIRED))
async def test_node_register_takes_what_is_not_given(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send_raw(json.dumps(without(NODE_REGISTER, name, value)))
        ack = await node.expect("node_register_ack")
        if name == "node_id":
            assert ack["node_id"] not in {"", "None", "null"}


@NOT_GIVEN
@pytest.mark.parametrize("name", ["src_lang", "tgt_lang", "dialect", "enabled"])
async def test_an_installed_model_takes_what_is_not_given(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(installed_models=[without(MODEL, name, value)])


async def test_hardware_without_gpus_and_features_of_null_are_taken(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(
            hardware={"cpu_cores": 2, "memory_gb": 4},
            features_supported=dict.fromkeys(
                ("emotion_detection", "voice_style_detection", "speech_rate_detection")
            ),
        )


@NOT_GIVEN
@pytest.mark.parametrize("name", optional(HEARTBEAT, HEARTBEAT_REQUIRED))
async def test_node_heartbeat_takes_what_is_not_given(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        beat = without({**HEARTBEAT, "node_id": node.node_id}, name, value)
        await node.send_raw(json.dumps(beat))
        await node.status("ready")


@NOT_GIVEN
@pytest.mark.parametrize("name", ["gpu_percent", "gpu_mem_percent"])
async def test_resource_usage_takes_what_is_not_given(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        usage = without(HEARTBEAT["resource_usage"], name, value)
        await node.send("node_heartbeat", node_id=node.node_id, timestamp=1, resource_usage=usage)
        await node.status("ready")


@NOT_GIVEN
@pytest.mark.parametrize("name", optional(JOB_RESULT, JOB_RESULT_REQUIRED))
async def test_job_result_takes_what_is_not_given(cluster: Cluster, name: str, value: Any) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        about = {
            "type": "job_result",
            "job_id": job["job_id"],
            "attempt_id": job["attempt_id"],
            "node_id": node.node_id,
            "session_id": session.session_id,
            "utterance_index": 0,
            "trace_id": job["trace_id"],
        }
        await node.send_raw(json.dumps({**about, **without(JOB_RESULT, name, value)}))
        result = await session.result()
        if name in {"extra", "group_id", "part_index"}:
            assert result.get(name) is None
        else:
            assert isinstance(result.get(name, ""), str)


@NOT_GIVEN
async def test_an_error_of_a_node_takes_no_details(cluster: Cluster, value: Any) -> None:
    error = without({"code": "NMT_TIMEOUT", "message": "slow"}, "details", value)
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        await node.complete(job, success=False, error=error)
        await session.expect("error", code="NMT_TIMEOUT", message="slow")
        await node.send("node_error", node_id=node.node_id, **error)
        await node.fence()
        assert not [m for m in node.unread if m["type"] == "error"]


# --- unknown fields are ignored -------------------------------------------------------------


async def test_unknown_fields_are_ignored_everywhere(cluster: Cluster) -> None:
    surplus: Message = {"brand_new": {"deep": [1, {"x": None}]}, "": 0, "Type": "x"}
    async with raw_session(cluster.session_url) as session, raw_node(cluster.node_url) as node:
        await session.init(**surplus, features={"telepathy": True}, pipeline={"use_magic": True})
        await node.register(
            **surplus,
            hardware={"cpu_cores": 1, "memory_gb": 1, "npu": 1},
            features_supported=surplus,
        )
        await node.heartbeat({"npu_percent": 5}, **surplus)
        await node.status("ready")
        await session.speak(**surplus)
        await session.result()
        await session.chunk(b"speech", final=True, **surplus)
        await session.result()
        assert "brand_new" not in node.assigned[0]


# --- what can't be decoded is refused, and the connection stays -----------------------------

NOT_A_MESSAGE = {
    "empty": "",
    "no JSON": "hello",
    "cut short": '{"type": "client_heartbeat"',
    "number": "1",
    "null": "null",
    "array": "[]",
    "no type": '{"session_id": "x"}',
    "null type": '{"type": null}',
    "number as type": '{"type": 1}',
    "unknown type": '{"type": "brand_new"}',
    "a server's type": '{"type": "session_init_ack", "session_id": "x"}',
    "type of other case": '{"type": "Client_Heartbeat"}',
    "lone surrogate half": '{"type": "\\ud800"}',
    "deep nesting": '{"type": "client_heartbeat", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "two objects": '{"type": "x"} {"type": "x"}',
    "single quotes": "{'type': 'client_heartbeat'}",
    "NaN": '{"type": NaN}',
}


@pytest.mark.parametrize("text", NOT_A_MESSAGE.values(), ids=NOT_A_MESSAGE)
async def test_what_a_session_sends_wrong_gets_invalid_message_and_the_connection_stays(
    cluster: Cluster, text: str
) -> None:
    refused = cluster.total("messages_refused_total")
    async with raw_session(cluster.session_url) as session:
        await session.send_raw(text)
        error = await session.expect("error", code="INVALID_MESSAGE")
        assert error["message"]
        await session.init()
        await session.send_raw(text)
        await session.expect("error", code="INVALID_MESSAGE")
        await session.fence()
        assert cluster.total("messages_refused_total") == refused + 2


@pytest.mark.parametrize("text", NOT_A_MESSAGE.values(), ids=NOT_A_MESSAGE)
async def test_what_a_node_sends_wrong_gets_invalid_message_and_the_connection_stays(
    cluster: Cluster, text: str
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send_raw(text)
        await node.expect("error", code="INVALID_MESSAGE")
        await node.register()
        await node.send_raw(text)
        await node.expect("error", code="INVALID_MESSAGE")
        await node.become_ready()


async def test_text_that_is_not_utf8_closes_the_connection_with_1007(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.send_raw(b'{"type": "\xff"}', text=True)
        assert await session.closed() == 1007


@pytest.mark.parametrize("name", SESSION_INIT_REQUIRED)
@NOT_GIVEN
async def test_session_init_without_a_required_field_is_refused_by_name(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_session(cluster.session_url) as session:
        await session.send_raw(json.dumps(without(SESSION_INIT, name, value)))
        error = await session.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]


@pytest.mark.parametrize("name", UTTERANCE_REQUIRED)
@NOT_GIVEN
async def test_utterance_without_a_required_field_is_refused_by_name(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with a_session(cluster.session_url) as session:
        whole = {**UTTERANCE, "session_id": session.session_id}
        await session.send_raw(json.dumps(without(whole, name, value)))
        error = await session.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]


@pytest.mark.parametrize("name", NODE_REGISTER_REQUIRED)
@NOT_GIVEN
async def test_node_register_without_a_required_field_is_refused_by_name(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send_raw(json.dumps(without(NODE_REGISTER, name, value)))
        error = await node.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("utterance_index", "0"),
        ("utterance_index", 0.5),
        ("utterance_index", -1),
        ("utterance_index", True),
        ("manual_cut", 1),
        ("manual_cut", "true"),
        ("src_lang", 5),
        ("src_lang", ["zh"]),
        ("audio", 5),
        ("audio", ["AAAA"]),
        ("audio", "not base64!"),
        ("audio", "AAA"),
        ("audio", "AA AA"),
        ("audio", ""),
        ("sample_rate", "16000"),
        ("sample_rate", 0),
        ("features", []),
        ("features", {"emotion_detection": 1}),
        ("mode", "three_way"),
        ("auto_langs", "zh"),
        ("auto_langs", [None]),
        ("enable_streaming_asr", "yes"),
        ("partial_update_interval_ms", 1.5),
        ("trace_id", 7),
        ("src_lang", "x" * 1000),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_an_utterances_types_are_strict(cluster: Cluster, name: str, value: Any) -> None:
    accepted = cluster.totals().accepted
    async with a_session(cluster.session_url) as session:
        whole = {**UTTERANCE, "session_id": session.session_id, name: value}
        await session.send_raw(json.dumps(whole))
        error = await session.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]
        await session.fence()
    assert cluster.totals().accepted == accepted


@pytest.mark.parametrize(
    ("name", "value"),
    [("seq", "0"), ("seq", -1), ("is_final", "true"), ("payload", 5), ("payload", "a b")],
    ids=str,
)
async def test_a_chunks_types_are_strict_and_what_was_said_before_is_kept(
    cluster: Cluster, name: str, value: Any
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(b"good")
        chunk = {"type": "audio_chunk", "seq": 0, "is_final": True, "payload": "AAAA"}
        await session.send_raw(json.dumps({**chunk, name: value}))
        await session.expect("error", code="INVALID_MESSAGE")
        await session.chunk(None, final=True)
        assert (await node.job())["audio"] == encoded(b"good")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hardware", {"cpu_cores": "8", "memory_gb": 1}),
        ("hardware", {"cpu_cores": 8}),
        ("hardware", {"cpu_cores": 8, "memory_gb": -1}),
        ("accept_public_jobs", "yes"),
        ("capability_state", {ASR: "great"}),
        ("installed_services", [{"service_id": "x"}]),
        ("installed_services", "node-inference"),
        ("installed_models", None),
        ("max_concurrent_jobs", 0),
        ("max_concurrent_jobs", 2.5),
        ("node_id", ""),
        ("node_id", "line\nbreak"),
        ("node_id", 5),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_registrations_types_are_strict(cluster: Cluster, name: str, value: Any) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send_raw(json.dumps({**NODE_REGISTER, name: value}))
        error = await node.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]
        await node.register()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resource_usage", {"cpu_percent": "5", "mem_percent": 1, "running_jobs": 0}),
        ("resource_usage", {"cpu_percent": None, "mem_percent": 1, "running_jobs": 0}),
        ("resource_usage", {"cpu_percent": 1, "mem_percent": 1}),
        ("timestamp", "now"),
        ("capability_state", ["ready"]),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_heartbeats_types_are_strict(cluster: Cluster, name: str, value: Any) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        await node.send_raw(json.dumps({**HEARTBEAT, "node_id": node.node_id, name: value}))
        error = await node.expect("error", code="INVALID_MESSAGE")
        assert name in error["message"]


async def test_escaped_slashes_in_audio_are_base64_all_the_same(cluster: Cluster) -> None:
    audio = b"\xff\xff\xff\xfe"  # "/////g=="
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        whole = {**UTTERANCE, "session_id": session.session_id, "audio": encoded(audio)}
        await session.send_raw(json.dumps(whole).replace("/", "\\/"))
        assert (await node.job())["audio"] == encoded(audio)


async def test_a_message_may_come_in_fragments(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), raw_session(cluster.session_url) as session:
        text = json.dumps(SESSION_INIT)
        await session._socket.send([text[:10], text[10:11], text[11:]])
        session.session_id = (await session.expect("session_init_ack"))["session_id"]
        await session.speak()
        await session.result()


# --- no value of any field does harm --------------------------------------------------------

ODD_VALUES = (
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e400",
    str(2**53 + 1),
    str(2**63),
    str(10**40),
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"' + "x" * 300 + '"',
    '"' + "字" * 200 + '"',
    "[]",
    "[null]",
    "{}",
    '{"x": "\\udfff"}',
)


def mutations(message: Message) -> list[str]:
    """Return the message with each field in turn replaced by each odd value, as JSON."""
    return [
        json.dumps({**message, name: "~"}).replace('"~"', value)
        for name in message
        for value in ODD_VALUES
    ]


async def test_no_value_in_a_sessions_messages_does_harm(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, max_concurrent_jobs=500),
        a_session(cluster.session_url) as session,
    ):
        own = {"session_id": session.session_id}
        for message in (
            {**UTTERANCE, **own, "request_id": None},
            {"type": "audio_chunk", **own, "seq": 0, "is_final": True, "payload": "AAAA"},
            {"type": "client_heartbeat", **own, "timestamp": 1},
            {"type": "tts_play_ended", **own, "trace_id": "t", "group_id": "g", "ts_end_ms": 1},
            {"type": "session_close", "session_id": "sess-0", "reason": "x"},
        ):
            for text in mutations(message):
                await session.send_raw(text)
                await session.fence()
        codes = {m["code"] for m in session.unread if m["type"] == "error"}
        assert codes == {"INVALID_MESSAGE", "INVALID_SESSION"}


async def test_no_value_in_a_session_init_does_harm(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, max_concurrent_jobs=500):
        for text in mutations(SESSION_INIT):
            async with raw_session(cluster.session_url) as session:
                await session.send_raw(text)
                message = await session.next()
                assert message is not None
                if message["type"] == "session_init_ack":
                    session.session_id = message["session_id"]
                else:
                    assert message["code"] == "INVALID_MESSAGE"
                    await session.init()
                await session.speak()
                await session.result()


async def test_no_value_in_a_registration_does_harm(cluster: Cluster) -> None:
    for text in mutations(NODE_REGISTER):
        async with raw_node(cluster.node_url) as node:
            await node.send_raw(text)
            message = await node.next()
            assert message is not None
            if message["type"] == "node_register_ack":
                node.node_id = message["node_id"]
            else:
                assert message["code"] in {"INVALID_MESSAGE", "INVALID_CAPABILITY_SCHEMA"}
                await node.register()
            await node.fence()


async def test_no_value_in_a_nodes_messages_does_harm(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        usage = HEARTBEAT["resource_usage"]
        own = {"node_id": node.node_id}
        for text in mutations({**HEARTBEAT, **own}) + [
            json.dumps({**HEARTBEAT, **own, "resource_usage": "~"}).replace('"~"', inner)
            for inner in mutations(usage)
        ]:
            await node.send_raw(text)
        await node.fence()  # it is known to be degraded before it recovers
        await node.heartbeat(
            installed_services=installed(*CORE_SERVICES),
            capability_state=dict.fromkeys(CORE_SERVICES, "ready"),
        )
        await node.fence()
        await session.speak(0)
        job = await node.job()
        about = {"type": "asr_partial", **node._about(job), "text": "x", "is_final": False}
        for text in mutations(about):
            await node.send_raw(text)
        await node.fence()
        for index, text in enumerate(mutations({"type": "job_result", **JOB_RESULT})):
            await node.send_raw(f"{text[:-1]}, {json.dumps(node._about(job))[1:]}")
            await node.complete(job)  # ends it, unless the other did
            await session.expect("ui_event", event="DISPATCHED", utterance_index=index)
            await session.speak(index + 1)
            job = await node.job()
        await node.complete(job)
        await node.fence()
        await session.fence()
