import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.protocol import session
from scheduler.protocol.session import SessionMessage, session_decoder

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
indexes = st.integers(0, 2**53)
flags = st.booleans()

# For tests that run once per field: enough, since each field is independent of the others.
few = settings(max_examples=8)


def objects(names: str) -> st.SearchStrategy[dict[str, bool | None]]:
    """Objects of optional flags, missing, null or given."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), st.none() | flags))


FEATURES = (
    "emotion_detection voice_style_detection speech_rate_detection speech_rate_control "
    "speaker_identification persona_adaptation"
)
PIPELINE = "use_asr use_nmt use_tts"

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "auto_langs": st.lists(texts, max_size=3),
    "enable_streaming_asr": flags,
    "features": objects(FEATURES),
    "is_final": flags,
    "manual_cut": flags,
    "mode": st.sampled_from(["one_way", "two_way_auto"]),
    "partial_update_interval_ms": indexes,
    "pipeline": objects(PIPELINE),
    "replies_received": indexes,
    "resumable": flags,
    "sample_rate": st.integers(1, 768_000),
    "seq": indexes,
    "timestamp": st.integers(-(2**63), 2**63 - 1),
    "ts_end_ms": st.integers(-(2**63), 2**63 - 1),
    "utterance_index": indexes,
}
"""Values of each field; one that is not named here is text."""

# Required and optional fields as the clients in the field know them.
CLIENT_MESSAGES = {
    "session_init": (
        "client_version platform src_lang tgt_lang",
        "dialect features pairing_code tenant_id mode lang_a lang_b auto_langs "
        "enable_streaming_asr partial_update_interval_ms trace_id pipeline audio_format "
        "sample_rate token resumable",
    ),
    "session_resume": ("session_id resume_token replies_received", ""),
    "utterance": (
        "session_id utterance_index manual_cut src_lang tgt_lang audio audio_format sample_rate",
        "dialect features mode lang_a lang_b auto_langs enable_streaming_asr "
        "partial_update_interval_ms trace_id request_id",
    ),
    "audio_chunk": ("seq is_final", "session_id payload"),
    "client_heartbeat": ("session_id timestamp", ""),
    "tts_play_ended": ("session_id trace_id group_id ts_end_ms", ""),
    "session_close": ("session_id reason", ""),
}

REQUIRED = [(tag, name) for tag, (names, _) in CLIENT_MESSAGES.items() for name in names.split()]
OPTIONAL = [(tag, name) for tag, (_, names) in CLIENT_MESSAGES.items() for name in names.split()]


def messages(tag: str) -> st.SearchStrategy[dict[str, Any]]:
    required, optional = (
        {name: FIELDS.get(name, texts) for name in names.split()} for names in CLIENT_MESSAGES[tag]
    )
    nullable = {name: st.none() | values for name, values in optional.items()}
    return st.fixed_dictionaries({"type": st.just(tag), **required}, optional=nullable)


def decode(message: dict[str, Any]) -> SessionMessage:
    return session_decoder.decode(json.dumps(message))


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


@pytest.mark.parametrize("tag", CLIENT_MESSAGES)
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
    assert getattr(decode(message), name) is None
    assert decode(message | {name: None}) == decode(message)


@pytest.mark.parametrize(("tag", "name"), REQUIRED)
@few
@given(data=st.data())
def test_a_required_field_must_be_there(tag: str, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    # Raw audio takes any value; check_audio refuses null.
    if name != "audio":
        with pytest.raises(msgspec.ValidationError, match=name):
            decode(message | {name: None})
    del message[name]
    with pytest.raises(msgspec.ValidationError, match=name):
        decode(message)


@pytest.mark.parametrize("tag", CLIENT_MESSAGES)
@few
@given(data=st.data())
def test_unknown_fields_are_ignored(tag: str, data: st.DataObject) -> None:
    message = data.draw(messages(tag))
    assert decode(message | {"x_new": {"type": "utterance"}}) == decode(message)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '"utterance"', '{"type":null}', '{"type":"node_register"}']
)
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        session_decoder.decode(text)


@pytest.mark.parametrize(
    ("tag", "field"),
    [
        ("utterance", {"utterance_index": -1}),
        ("utterance", {"utterance_index": 2**53 + 1}),
        ("utterance", {"utterance_index": 1.5}),
        ("utterance", {"sample_rate": 0}),
        ("utterance", {"mode": "both"}),
        ("utterance", {"auto_langs": ["en"] * 65}),
        ("utterance", {"features": {"emotion_detection": "yes"}}),
        ("utterance", {"request_id": "x" * 257}),
        ("session_init", {"src_lang": "x" * 257}),
        ("session_init", {"pipeline": {"use_asr": 1}}),
        ("session_init", {"pipeline": []}),
        ("session_resume", {"replies_received": -1}),
        ("session_resume", {"resume_token": "x" * 257}),
        ("audio_chunk", {"seq": -1}),
        ("audio_chunk", {"is_final": "true"}),
        ("audio_chunk", {"payload": 5}),
        ("client_heartbeat", {"timestamp": "now"}),
    ],
)
@few
@given(data=st.data())
def test_values_out_of_bounds_are_refused(
    tag: str, field: dict[str, Any], data: st.DataObject
) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(data.draw(messages(tag)) | field)


def test_existing_web_client_is_understood() -> None:
    chunk = decode({"type": "audio_chunk", "seq": 0, "is_final": False, "payload": "AAAA"})
    assert isinstance(chunk, session.AudioChunk)
    assert chunk.session_id is None
    opened = decode(
        {
            "type": "session_init",
            "client_version": "web",
            "platform": "web",
            "src_lang": "auto",
            "tgt_lang": "en",
            "dialect": None,
            "pairing_code": None,
        }
    )
    assert isinstance(opened, session.SessionInit)
    assert (opened.dialect, opened.pairing_code) == (None, None)


@given(texts)
def test_audio_stays_the_text_it_came_as(audio: str) -> None:
    text = json.dumps(audio)
    message = session_decoder.decode(
        '{"type":"utterance","session_id":"s","utterance_index":0,"manual_cut":true,"src_lang":'
        f'"zh","tgt_lang":"en","audio": {text} ,"audio_format":"pcm16","sample_rate":16000}}'
    )
    assert isinstance(message, session.Utterance)
    assert bytes(message.audio) == text.encode()


@pytest.mark.parametrize(
    ("kind", "names"),
    [(session.Features, FEATURES), (session.Pipeline, PIPELINE)],
)
def test_nested_objects_have_the_wire_names(kind: type[msgspec.Struct], names: str) -> None:
    assert set(kind.__struct_fields__) == set(names.split())


# Fields always present, and fields left out where they are not known.
SERVER_MESSAGES: list[tuple[type[msgspec.Struct], str, str, str]] = [
    (
        session.SessionInitAck,
        "session_init_ack",
        "session_id assigned_node_id message trace_id",
        "resume_token resume_seconds resumed received_seq received_bytes cut_seq "
        "next_utterance_index",
    ),
    (
        session.AsrPartial,
        "asr_partial",
        "session_id utterance_index job_id text is_final trace_id",
        "",
    ),
    (
        session.UiEvent,
        "ui_event",
        "trace_id session_id job_id utterance_index event status",
        "elapsed_ms error_code hint",
    ),
    (session.ServerHeartbeat, "server_heartbeat", "session_id timestamp", ""),
    (session.SessionCloseAck, "session_close_ack", "session_id", ""),
    (session.ErrorMessage, "error", "code message", "details"),
]


@pytest.mark.parametrize(("kind", "tag", "required", "optional"), SERVER_MESSAGES)
def test_server_messages_have_the_wire_names(
    kind: type[msgspec.Struct], tag: str, required: str, optional: str
) -> None:
    always = dict.fromkeys(required.split(), None)
    assert json.loads(msgspec.json.encode(kind(**always))) == {"type": tag, **always}
    known = dict.fromkeys(optional.split(), 1)
    assert json.loads(msgspec.json.encode(kind(**always, **known))) == {
        "type": tag,
        **always,
        **known,
    }
