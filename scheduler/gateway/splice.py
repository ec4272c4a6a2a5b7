"""Builds the messages that carry audio out of bytes, so that audio is never encoded again.

Parsing a message leaves its audio as the JSON text it came as; that text is put between texts
encoded here. Even as a plain string, reading and writing the audio would cost a second pass over
it each way, to look for escapes; tests/benchmarks/test_splice_benchmark.py keeps the costs.

A gateway builds what it knows when it knows it::

    job_assign           build_job_assign: all but the attempt  |  ,"attempt_id":3}
    translation_result   result_head: the job's gateway         |  ResultTail.body: the node's
"""

from typing import NamedTuple

import pybase64
from msgspec import Raw, Struct, structs
from msgspec.json import Encoder

from scheduler.errors import PeerError
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import JobAssignHead, JobResult
from scheduler.protocol.session import Features, Pipeline, ResultHead

TTS_FORMAT_DEFAULT = "pcm16"

_encode = Encoder().encode


def pipeline_stages(pipeline: Pipeline | None) -> Pipeline:
    """Return a pipeline with every stage said; one that is not given is in use."""
    given = structs.astuple(pipeline or Pipeline())
    return Pipeline(*(used is not False for used in given))


def given_features(features: Features | None) -> Features | None:
    """Return the features, or None where a client named none."""
    return None if features == Features() else features


def audio_text(audio: bytes) -> bytes:
    """Return audio as JSON text: base64 in quotes."""
    return b'"%b"' % pybase64.b64encode(audio)


def build_job_assign(head: JobAssignHead, audio: bytes) -> bytes:
    """Return a `job_assign` up to its attempt, which `with_attempt` adds.

    `audio` is JSON text from `audio_text` or `segmenter.check_audio`.
    """
    return b'%b,"audio":%b' % (_encode(head)[:-1], audio)


def with_attempt(head: bytes, attempt: int) -> tuple[bytes, bytes]:
    """Return the two parts of the `job_assign` for an attempt of the job."""
    return head, b',"attempt_id":%d}' % attempt


class _ResultText(Struct, omit_defaults=True, kw_only=True):
    text_asr: str
    text_translated: str
    tts_format: str
    group_id: str | None = None
    part_index: int | None = None


class ResultTail(NamedTuple):
    """The node's part of a `translation_result`.

    The flags tell the session's gateway which `ui_event`s are due, without parsing the body.
    """

    has_asr: bool
    has_translation: bool
    body: bytes

    def encode(self) -> tuple[bytes, bytes]:
        """Return the parts in which a tail crosses an arena: one byte of flags, the body."""
        return bytes((self.has_asr | self.has_translation << 1,)), self.body

    @classmethod
    def decode(cls, payload: bytes) -> "ResultTail":
        """Return the tail whose parts, joined, are `payload`."""
        flags = payload[0]
        return cls(bool(flags & 1), bool(flags & 2), payload[1:])


def result_head(session_id: str, utterance_index: int, job_id: str, trace_id: str) -> bytes:
    """Return a `translation_result` up to the fields that come from the node."""
    return _encode(ResultHead(session_id, utterance_index, job_id, trace_id))[:-1]


def build_result_tail(result: JobResult) -> ResultTail:
    """Return the rest of the `translation_result`, from the node's `job_result`.

    The message is `result_head(…) + tail.body`. `extra` is left out unless it is an object.

    Raises PeerError INVALID_MESSAGE where `tts_audio` is neither ASCII string nor null, or
    `extra` is not UTF-8: raw parts are valid JSON by their decoding, but their type and their
    characters were not looked at.
    """
    text = _ResultText(
        text_asr=result.text_asr or "",
        text_translated=result.text_translated or "",
        tts_format=result.tts_format or TTS_FORMAT_DEFAULT,
        group_id=result.group_id,
        part_index=result.part_index,
    )
    body = b',%b%b,"tts_audio":%b}' % (
        _encode(text)[1:-1],
        _extra_field(result.extra),
        _tts_audio(result.tts_audio),
    )
    return ResultTail(bool(result.text_asr), bool(result.text_translated), body)


def _tts_audio(raw: Raw) -> bytes:
    text = bytes(raw)
    if text == b"null":
        return b'""'
    if not (text.startswith(b'"') and text.isascii()):
        raise PeerError(ErrorCode.INVALID_MESSAGE, "job_result.tts_audio must be a base64 string")
    return text


def _extra_field(raw: Raw) -> bytes:
    text = bytes(raw)
    if not text.startswith(b"{"):
        return b""
    try:
        text.decode()
    except UnicodeDecodeError:
        raise PeerError(ErrorCode.INVALID_MESSAGE, "job_result.extra is not UTF-8") from None
    return b',"extra":%b' % text
