"""Costs of the messages that carry audio: about a second of pcm16 at 16 kHz, 44 KB of base64.

From the peer's message to the bytes for the other peer. The rivals do what the splice saves: they
decode the message with its audio and encode it again. `msgspec` has the audio as bytes, `text` as
the string that it came as, `json` is the standard library on dicts.
"""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.gateway.segmenter import check_audio
from scheduler.gateway.splice import (
    audio_text,
    build_job_assign,
    build_result_tail,
    pipeline_stages,
    result_head,
    with_attempt,
)
from scheduler.protocol.node import JobAssignHead, JobResult, node_decoder
from scheduler.protocol.session import Utterance, session_decoder
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized

AUDIO_BYTES = sized([640, 33_024, 330_240], [640])
"""20 ms, about a second and ten of them."""

SESSION_ID, JOB_ID = "sess-0123456789ABCDEF", "job-0123456789ABCDEF-1"
TRACE_ID = "9c5b94b1-35ad-49bb-b118-8e8fc24abf80"
FIELDS = JobAssignHead(
    job_id=JOB_ID,
    session_id=SESSION_ID,
    utterance_index=1,
    src_lang="zh",
    tgt_lang="en",
    pipeline=pipeline_stages(None),
    audio_format="pcm16",
    sample_rate=16_000,
    trace_id=TRACE_ID,
)
UTTERANCE: dict[str, Any] = {
    "type": "utterance",
    "session_id": SESSION_ID,
    "utterance_index": 1,
    "manual_cut": True,
    "src_lang": "zh",
    "tgt_lang": "en",
    "audio_format": "pcm16",
    "sample_rate": 16_000,
}
RESULT: dict[str, Any] = {
    "type": "job_result",
    "job_id": JOB_ID,
    "attempt_id": 1,
    "node_id": "node-1",
    "session_id": SESSION_ID,
    "utterance_index": 1,
    "success": True,
    "trace_id": TRACE_ID,
    "text_asr": "你好 世界",
    "text_translated": "hello, world",
}


class Decoded(Struct):
    """The audio of a message, decoded: what a program has that is not careful of it."""

    audio: bytes = b""
    tts_audio: bytes = b""


class Plain(Struct):
    """The same as text."""

    audio: str = ""
    tts_audio: str = ""


each_size = pytest.mark.parametrize("size", AUDIO_BYTES)
encode, decode_bytes, decode_text = (
    msgspec.json.Encoder().encode,
    msgspec.json.Decoder(Decoded).decode,
    msgspec.json.Decoder(Plain).decode,
)


def audio_of(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def rivals(message: bytes, name: str, rest: dict[str, Any]) -> dict[str, Any]:
    """Return rivals that put the audio of `message` into a message with fields of `rest`."""

    def with_json() -> bytes:
        return json.dumps(rest | {name: json.loads(message)[name]}).encode()

    def with_decoder(decode: Any) -> bytes:
        return encode(rest | {name: getattr(decode(message), name)})

    return {
        "msgspec": lambda: with_decoder(decode_bytes),
        "text": lambda: with_decoder(decode_text),
        "json": with_json,
    }


@each_size
def test_check_audio(benchmark: BenchmarkFixture, size: int) -> None:
    text = audio_text(audio_of(size))
    assert benchmark(check_audio, Raw(text)) == text


@each_size
def test_audio_text(benchmark: BenchmarkFixture, size: int) -> None:
    audio = audio_of(size)
    text = beside(benchmark, lambda: audio_text(audio), msgspec=lambda: encode(audio))
    assert text == encode(audio)


@each_size
def test_utterance_to_job_assign(benchmark: BenchmarkFixture, size: int) -> None:
    """Ours checks the audio besides, which the rivals do as far as they decode it."""
    message = encode(UTTERANCE | {"audio": audio_of(size)})
    rest = json.loads(encode(FIELDS)) | {"attempt_id": 1}

    def splice() -> bytes:
        utterance = session_decoder.decode(message)
        assert type(utterance) is Utterance
        return b"".join(with_attempt(build_job_assign(FIELDS, check_audio(utterance.audio)), 1))

    others = rivals(message, "audio", rest)
    made = json.loads(beside(benchmark, splice, **others))
    assert [made] * len(others) == [json.loads(rival()) for rival in others.values()]
    assert made["audio"] == json.loads(message)["audio"]


@each_size
def test_job_result_to_translation_result(benchmark: BenchmarkFixture, size: int) -> None:
    message = encode(RESULT | {"tts_audio": audio_of(size)})

    def splice() -> bytes:
        result = node_decoder.decode(message)
        assert type(result) is JobResult
        head = result_head(SESSION_ID, 1, JOB_ID, TRACE_ID)
        return head + build_result_tail(result).body

    rest = json.loads(splice())
    others = rivals(message, "tts_audio", rest)
    made = json.loads(beside(benchmark, splice, **others))
    assert [made] * len(others) == [json.loads(rival()) for rival in others.values()]
    assert made["tts_audio"] == json.loads(message)["tts_audio"]
