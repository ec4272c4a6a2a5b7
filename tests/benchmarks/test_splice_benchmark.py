"""Costs of the messages that carry audio: about a second of pcm16 at 16 kHz, 44 KB of base64."""

import json

from msgspec import Raw
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
from scheduler.protocol.node import JobAssignHead, JobResult

AUDIO = bytes(range(256)) * 129
TEXT = audio_text(AUDIO)
FIELDS = JobAssignHead(
    job_id="job-0123456789ABCDEF-1",
    session_id="sess-0123456789ABCDEF",
    utterance_index=1,
    src_lang="zh",
    tgt_lang="en",
    pipeline=pipeline_stages(None),
    audio_format="pcm16",
    sample_rate=16_000,
    trace_id="9c5b94b1-35ad-49bb-b118-8e8fc24abf80",
)
RESULT = JobResult(
    job_id=FIELDS.job_id,
    attempt_id=1,
    node_id="node-1",
    session_id=FIELDS.session_id,
    utterance_index=1,
    success=True,
    trace_id=FIELDS.trace_id,
    text_asr="你好 世界",
    text_translated="hello, world",
    tts_audio=Raw(TEXT),
)


def test_check_audio(benchmark: BenchmarkFixture) -> None:
    assert benchmark(check_audio, Raw(TEXT)) == TEXT


def test_audio_text(benchmark: BenchmarkFixture) -> None:
    assert benchmark(audio_text, AUDIO) == TEXT


def test_job_assign(benchmark: BenchmarkFixture) -> None:
    def build() -> bytes:
        return b"".join(with_attempt(build_job_assign(FIELDS, TEXT), 1))

    assert json.loads(benchmark(build))["audio"] == TEXT[1:-1].decode()


def test_translation_result(benchmark: BenchmarkFixture) -> None:
    def build() -> bytes:
        head = result_head(FIELDS.session_id, 1, FIELDS.job_id, FIELDS.trace_id)
        return head + build_result_tail(RESULT).body

    assert json.loads(benchmark(build))["tts_audio"] == TEXT[1:-1].decode()
