import json

import pytest
from msgspec import ValidationError

from scheduler.protocol.node import JobAssign
from scheduler.protocol.session import SessionInitAck, TranslationResult
from scheduler.sdk.messages import node_order_decoder, session_event_decoder

RESULT = {
    "type": "translation_result",
    "session_id": "s",
    "utterance_index": 0,
    "job_id": "j",
    "trace_id": "t",
}
ASSIGN = {
    "type": "job_assign",
    "job_id": "j",
    "attempt_id": 1,
    "session_id": "s",
    "utterance_index": 0,
    "src_lang": "en",
    "tgt_lang": "es",
    "pipeline": {"use_asr": True, "use_nmt": True, "use_tts": False},
    "audio": "AAEC",
    "audio_format": "pcm16",
    "sample_rate": 16000,
    "trace_id": "t",
}
# fmt: off
OPTIONAL = (
    "dialect", "features", "mode", "lang_a", "lang_b", "auto_langs", "enable_streaming_asr",
    "partial_update_interval_ms", "group_id", "part_index", "context_text",
)
# fmt: on


@pytest.mark.parametrize(
    ("field", "audio"), [({}, None), ({"tts_audio": ""}, b""), ({"tts_audio": None}, None)]
)
def test_speech_may_be_empty_null_or_missing(
    field: dict[str, str | None], audio: bytes | None
) -> None:
    result = session_event_decoder.decode(json.dumps(RESULT | field))
    assert isinstance(result, TranslationResult)
    assert result.tts_audio == audio


def test_optional_fields_of_a_job_may_be_null_or_missing_and_unknown_ones_come() -> None:
    missing = node_order_decoder.decode(json.dumps(ASSIGN))
    null = node_order_decoder.decode(json.dumps(ASSIGN | dict.fromkeys(OPTIONAL) | {"new": [1]}))
    assert missing == null
    assert isinstance(missing, JobAssign)
    assert missing.audio == b"\x00\x01\x02"
    assert missing.pipeline.use_tts is False


def test_a_session_that_is_not_paired_has_no_node() -> None:
    ack = {"session_id": "s", "assigned_node_id": None, "message": "", "trace_id": "t"}
    decoded = session_event_decoder.decode(json.dumps({"type": "session_init_ack", **ack}))
    assert decoded == SessionInitAck("s", None, "", "t")


def test_another_type_is_told_apart_from_broken_json() -> None:
    with pytest.raises(ValidationError):
        session_event_decoder.decode(b'{"type":"of_tomorrow"}')
