import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from scheduler.errors import PeerError
from scheduler.gateway.segmenter import check_audio
from scheduler.gateway.splice import (
    ResultTail,
    audio_text,
    build_job_assign,
    build_result_tail,
    given_features,
    pipeline_stages,
    result_head,
    with_attempt,
)
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import JobAssignHead, JobResult, node_decoder
from scheduler.protocol.session import Features, Pipeline

# Everything that UTF-8 can carry, with quotes and control characters likely.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', '","x":"', "\\", "\x00", "\u2028", "}"]
)
indexes = st.integers(0, 2**53)
audios = st.binary(min_size=1, max_size=64)

REQUIRED: dict[str, st.SearchStrategy[Any]] = {
    "job_id": texts,
    "session_id": texts,
    "utterance_index": indexes,
    "src_lang": texts,
    "tgt_lang": texts,
    "pipeline": st.fixed_dictionaries(
        {"use_asr": st.booleans(), "use_nmt": st.booleans(), "use_tts": st.booleans()}
    ),
    "audio_format": texts,
    "sample_rate": st.integers(1, 768_000),
    "trace_id": texts,
}
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "dialect": texts,
    "features": st.dictionaries(st.sampled_from(["emotion_detection"]), st.booleans()),
    "mode": st.sampled_from(["one_way", "two_way_auto"]),
    "lang_a": texts,
    "lang_b": texts,
    "auto_langs": st.lists(texts, max_size=3),
    "enable_streaming_asr": st.booleans(),
    "partial_update_interval_ms": indexes,
    "group_id": texts,
    "part_index": indexes,
    "context_text": texts,
}


def head_of(**fields: Any) -> JobAssignHead:
    """Return the struct of what would be its JSON."""
    return msgspec.convert({"type": "job_assign", **fields}, JobAssignHead)


@given(st.fixed_dictionaries(REQUIRED, optional=OPTIONAL), audios, indexes)
def test_job_assign_is_what_a_plain_encoder_would_write(
    fields: dict[str, Any], audio: bytes, attempt: int
) -> None:
    message = b"".join(
        with_attempt(build_job_assign(head_of(**fields), audio_text(audio)), attempt)
    )
    assert json.loads(message) == {
        "type": "job_assign",
        **fields,
        "audio": base64.b64encode(audio).decode(),
        "attempt_id": attempt,
    }


@given(st.fixed_dictionaries(REQUIRED), st.sets(st.sampled_from(sorted(OPTIONAL))))
def test_what_is_none_is_left_out(fields: dict[str, Any], nones: set[str]) -> None:
    head = build_job_assign(head_of(**(fields | dict.fromkeys(nones))), b'"AAAA"')
    assert json.loads(b"".join(with_attempt(head, 1))).keys() == {
        "type",
        "audio",
        "attempt_id",
        *REQUIRED,
    }


@given(audios)
def test_a_clients_audio_is_passed_on_as_it_came(audio: bytes) -> None:
    text = b'"%b"' % base64.b64encode(audio)
    assert audio_text(audio) == text
    assert check_audio(Raw(text)) == text


@pytest.mark.parametrize(
    ("given_stages", "used"),
    [
        (None, (True, True, True)),
        (Pipeline(), (True, True, True)),
        (Pipeline(use_asr=False, use_tts=True), (False, True, True)),
        (Pipeline(use_nmt=False, use_tts=False), (True, False, False)),
    ],
)
def test_pipeline_names_all_stages(
    given_stages: Pipeline | None, used: tuple[bool, bool, bool]
) -> None:
    assert pipeline_stages(given_stages) == Pipeline(*used)


def test_only_features_that_were_named_are_passed_on() -> None:
    assert given_features(None) is None
    assert given_features(Features()) is None
    named = Features(emotion_detection=True, speech_rate_control=False)
    assert given_features(named) == named
    assert json.loads(msgspec.json.encode(named)) == {
        "emotion_detection": True,
        "speech_rate_control": False,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
RESULT_REQUIRED: dict[str, Any] = {
    "type": "job_result",
    "job_id": "job-1",
    "attempt_id": 1,
    "node_id": "node-1",
    "session_id": "node's own idea",
    "utterance_index": 99,
    "success": True,
    "trace_id": "node's own idea",
}
RESULT_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "text_asr": st.none() | texts,
    "text_translated": st.none() | texts,
    "tts_audio": st.none() | st.binary(max_size=32).map(lambda b: base64.b64encode(b).decode()),
    "tts_format": st.none() | texts,
    "extra": json_values,
    "group_id": st.none() | texts,
    "part_index": st.none() | indexes,
}


@given(
    st.fixed_dictionaries({}, optional=RESULT_OPTIONAL),
    texts,
    indexes,
    texts,
    texts,
    st.booleans(),
)
def test_translation_result_is_what_a_plain_encoder_would_write(
    answer: dict[str, Any], session_id: str, index: int, job_id: str, trace_id: str, spaced: bool
) -> None:
    text = json.dumps(RESULT_REQUIRED | answer, indent=2 if spaced else None)
    result = node_decoder.decode(text)
    assert isinstance(result, JobResult)
    tail = build_result_tail(result)
    expected = {
        "type": "translation_result",
        "session_id": session_id,
        "utterance_index": index,
        "job_id": job_id,
        "trace_id": trace_id,
        "text_asr": answer.get("text_asr") or "",
        "text_translated": answer.get("text_translated") or "",
        "tts_audio": answer.get("tts_audio") or "",
        "tts_format": answer.get("tts_format") or "pcm16",
    }
    expected |= {
        name: answer[name] for name in ("group_id", "part_index") if answer.get(name) is not None
    }
    if isinstance(answer.get("extra"), dict):
        expected["extra"] = answer["extra"]
    assert json.loads(result_head(session_id, index, job_id, trace_id) + tail.body) == expected
    assert tail.has_asr == bool(answer.get("text_asr"))
    assert tail.has_translation == bool(answer.get("text_translated"))
    assert ResultTail.decode(b"".join(tail.encode())) == tail


def result_with(**fields: Any) -> JobResult:
    return msgspec.structs.replace(
        JobResult("job-1", 1, "node-1", "sess-1", 0, success=True, trace_id="t"), **fields
    )


@pytest.mark.parametrize(
    "raw", [b"1", b"true", b"[]", b"{}", b'{"a":"AAAA"}', b'["AAAA"]', b'"\xff"', '"é"'.encode()]
)
def test_speech_must_be_an_ascii_string(raw: bytes) -> None:
    with pytest.raises(PeerError, match="tts_audio") as caught:
        build_result_tail(result_with(tts_audio=Raw(raw)))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


def test_extra_must_be_utf8() -> None:
    with pytest.raises(PeerError, match="extra") as caught:
        build_result_tail(result_with(extra=Raw(b'{"emotion":"\xff"}')))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("has_asr", [False, True])
@pytest.mark.parametrize("has_translation", [False, True])
def test_tail_crosses_an_arena(has_asr: bool, has_translation: bool) -> None:
    tail = ResultTail(has_asr, has_translation, b',"text_asr":""}')
    payload = b"".join(tail.encode())
    assert len(payload) == len(tail.body) + 1
    assert ResultTail.decode(payload) == tail
