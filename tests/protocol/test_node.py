import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.protocol import node
from scheduler.protocol.node import NodeMessage, node_decoder

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ids = texts.filter(bool)
indexes = st.integers(0, 2**53)
flags = st.booleans()
amounts = st.integers(0, 1 << 20) | st.floats(0, 1e6)
percents = st.floats(-1e6, 1e6) | st.integers(-1, 101)

# For tests that run once per field: enough, since each field is independent of the others.
few = settings(max_examples=8)


def objects(required: str, optional: str = "") -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the required fields, and the optional ones missing, null or given."""
    return st.fixed_dictionaries(
        {name: FIELDS.get(name, texts) for name in required.split()},
        optional={name: st.none() | FIELDS.get(name, texts) for name in optional.split()},
    )


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "accept_public_jobs": flags,
    "advanced_features": st.lists(texts, max_size=3),
    "attempt_id": indexes,
    "capability_state": st.dictionaries(
        texts, st.sampled_from(["ready", "downloading", "not_installed", "error"]), max_size=3
    ),
    "cpu_cores": st.integers(0, 65_536),
    "cpu_percent": percents,
    "details": st.dictionaries(texts, texts | st.integers(0, 9), max_size=2) | texts,
    "emotion_detection": flags,
    "enabled": flags,
    "extra": st.dictionaries(texts, texts | st.floats(0, 9), max_size=2),
    "gpu_mem_percent": percents,
    "gpu_percent": percents,
    "is_final": flags,
    "max_concurrent_jobs": st.integers(1, 65_536),
    "mem_percent": percents,
    "memory_gb": amounts,
    "node_id": ids,
    "part_index": indexes,
    "processing_time_ms": amounts,
    "running_jobs": st.integers(-(2**63), 2**63 - 1),
    "service_id": ids,
    "success": flags,
    "timestamp": st.integers(-(2**63), 2**63 - 1),
    "utterance_index": indexes,
}
"""Values of each field; one that is not named here is text."""

FIELDS["error"] = objects("code message", "details")
FIELDS["features_supported"] = objects("", "emotion_detection")
FIELDS["gpus"] = st.lists(objects("name memory_gb"), max_size=2)
FIELDS["hardware"] = objects("cpu_cores memory_gb", "gpus")
FIELDS["installed_models"] = st.lists(
    objects("model_id kind version", "src_lang tgt_lang dialect enabled"), max_size=2
)
FIELDS["installed_services"] = st.lists(objects("service_id version platform"), max_size=2)
FIELDS["resource_usage"] = objects(
    "cpu_percent mem_percent running_jobs", "gpu_percent gpu_mem_percent"
)

# Required and optional fields as the nodes in the field know them.
NODE_MESSAGES = {
    "node_register": (
        "version platform hardware installed_models features_supported accept_public_jobs",
        "node_id capability_schema_version installed_services advanced_features "
        "capability_state max_concurrent_jobs name token",
    ),
    "node_heartbeat": (
        "node_id timestamp resource_usage",
        "installed_models installed_services capability_state",
    ),
    "job_result": (
        "job_id attempt_id node_id session_id utterance_index success trace_id",
        "text_asr text_translated tts_audio tts_format extra processing_time_ms error group_id "
        "part_index",
    ),
    "asr_partial": ("job_id node_id session_id utterance_index text is_final trace_id", ""),
    "node_error": ("node_id code message", "details"),
    "request_pairing_code": ("", ""),
}

REQUIRED = [(tag, name) for tag, (names, _) in NODE_MESSAGES.items() for name in names.split()]
OPTIONAL = [(tag, name) for tag, (_, names) in NODE_MESSAGES.items() for name in names.split()]


def messages(tag: str) -> st.SearchStrategy[dict[str, Any]]:
    return objects(*NODE_MESSAGES[tag]).map(lambda fields: {"type": tag, **fields})


def decode(message: dict[str, Any]) -> NodeMessage:
    return node_decoder.decode(json.dumps(message))


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


@pytest.mark.parametrize("tag", NODE_MESSAGES)
@given(data=st.data())
def test_round_trip(tag: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    again = json.loads(msgspec.json.encode(decode(message)))
    assert without_nulls(again) == without_nulls(message)


@pytest.mark.parametrize(("tag", "name"), OPTIONAL)
@few
@given(data=st.data())
def test_an_optional_field_may_be_missing_or_null(tag: str, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    message.pop(name, None)
    assert getattr(decode(message), name) in (None, msgspec.Raw(b"null"))
    assert decode(message | {name: None}) == decode(message)


@pytest.mark.parametrize(("tag", "name"), REQUIRED)
@few
@given(data=st.data())
def test_a_required_field_must_be_there(tag: str, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    with pytest.raises(msgspec.ValidationError, match=name):
        decode(message | {name: None})
    del message[name]
    with pytest.raises(msgspec.ValidationError, match=name):
        decode(message)


@pytest.mark.parametrize("tag", NODE_MESSAGES)
@few
@given(data=st.data())
def test_unknown_fields_are_ignored(tag: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    assert decode(message | {"x_new": {"type": "job_result"}}) == decode(message)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '"job_result"', '{"type":1}', '{"type":"utterance"}']
)
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        node_decoder.decode(text)


SERVICE = {"service_id": "asr", "version": "1", "platform": "linux"}


@pytest.mark.parametrize(
    ("tag", "field"),
    [
        ("node_register", {"node_id": ""}),
        ("node_register", {"node_id": "x" * 65}),
        ("node_register", {"name": "x" * 65}),
        ("node_register", {"max_concurrent_jobs": 0}),
        ("node_register", {"capability_state": {"asr": "fine"}}),
        ("node_register", {"hardware": {"cpu_cores": -1, "memory_gb": 1}}),
        ("node_register", {"hardware": {"cpu_cores": 1, "memory_gb": -1}}),
        ("node_register", {"hardware": {"cpu_cores": 1}}),
        ("node_register", {"installed_services": [SERVICE | {"service_id": ""}]}),
        ("node_register", {"installed_services": [SERVICE | {"service_id": "x" * 65}]}),
        ("node_register", {"installed_services": [SERVICE] * 257}),
        ("node_register", {"running_jobs": [{"job_id": "j", "attempt_id": 1}] * 2049}),
        ("node_heartbeat", {"resource_usage": {"cpu_percent": 1, "mem_percent": 1}}),
        ("node_heartbeat", {"resource_usage": {}}),
        ("job_result", {"attempt_id": -1}),
        ("job_result", {"success": 1}),
        ("job_result", {"text_asr": ["x"]}),
        ("job_result", {"error": {"code": "NMT_TIMEOUT"}}),
        ("job_result", {"error": "NMT_TIMEOUT"}),
    ],
)
@few
@given(data=st.data())
def test_values_out_of_bounds_are_refused(
    tag: str, field: dict[str, Any], data: st.DataObject
) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(data.draw(messages(tag)) | field)


@pytest.mark.parametrize("percent", [-5, 100.5, 250])
def test_usage_beyond_its_range_is_still_a_heartbeat(percent: float) -> None:
    usage = {"cpu_percent": percent, "mem_percent": percent, "running_jobs": 0}
    message = decode(
        {"type": "node_heartbeat", "node_id": "n", "timestamp": 0, "resource_usage": usage}
    )
    assert isinstance(message, node.NodeHeartbeat)
    assert message.resource_usage.cpu_percent == percent


@given(st.recursive(st.none() | st.integers(0, 9) | texts, lambda i: st.lists(i, max_size=2)))
def test_fields_that_are_passed_on_stay_the_text_they_came_as(value: Any) -> None:
    text = json.dumps(value)
    result = node_decoder.decode(
        '{"type":"job_result","job_id":"j","attempt_id":1,"node_id":"n","session_id":"s",'
        f'"utterance_index":0,"success":true,"trace_id":"t","tts_audio": {text} ,"extra":{text}}}'
    )
    assert isinstance(result, node.JobResult)
    assert bytes(result.tts_audio) == bytes(result.extra) == text.encode()


# Fields always present, and fields left out where they are not known.
SERVER_MESSAGES: list[tuple[type[msgspec.Struct], str, str, str]] = [
    (node.NodeRegisterAck, "node_register_ack", "node_id message status", ""),
    (node.NodeStatus, "node_status", "node_id status timestamp", "reason"),
    (node.JobCancel, "job_cancel", "job_id", "trace_id reason"),
    (node.NodeControl, "node_control", "command", "reason"),
    (node.PairingCode, "pairing_code", "code expires_in_seconds", ""),
]


@pytest.mark.parametrize(("kind", "tag", "required", "optional"), SERVER_MESSAGES)
def test_server_messages_have_the_wire_names(
    kind: type[msgspec.Struct], tag: str, required: str, optional: str
) -> None:
    always = dict.fromkeys(required.split(), "x")
    assert json.loads(msgspec.json.encode(kind(**always))) == {"type": tag, **always}
    known = dict.fromkeys(optional.split(), "y")
    assert json.loads(msgspec.json.encode(kind(**always, **known))) == {
        "type": tag,
        **always,
        **known,
    }
