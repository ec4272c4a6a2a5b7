"""Messages of the plain scheduler: whole ones, with their audio as a string."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, Encoder

from scheduler.protocol.node import NodeFailure, NodeHeartbeat, NodeRegister
from scheduler.protocol.session import (
    ClientHeartbeat,
    Features,
    Pipeline,
    SessionClose,
    SessionInit,
)


class Utterance(Struct, tag="utterance"):
    """One utterance of a session."""

    session_id: str
    utterance_index: int
    manual_cut: bool
    src_lang: str
    tgt_lang: str
    audio: str
    audio_format: str
    sample_rate: int
    features: Features | None = None
    trace_id: str | None = None


class JobResult(Struct, tag="job_result"):
    """What a node made of a job."""

    job_id: str
    attempt_id: int
    node_id: str
    session_id: str
    utterance_index: int
    success: bool
    trace_id: str
    text_asr: str | None = None
    text_translated: str | None = None
    tts_audio: str | None = None
    tts_format: str | None = None
    extra: dict[str, Any] | None = None
    error: NodeFailure | None = None


class JobAssign(Struct, tag="job_assign", omit_defaults=True):
    """A job for a node."""

    job_id: str
    attempt_id: int
    session_id: str
    utterance_index: int
    src_lang: str
    tgt_lang: str
    pipeline: Pipeline
    audio: str
    audio_format: str
    sample_rate: int
    trace_id: str
    features: Features | None = None


class TranslationResult(Struct, tag="translation_result"):
    """The result of an utterance, for its session."""

    session_id: str
    utterance_index: int
    job_id: str
    trace_id: str
    text_asr: str
    text_translated: str
    tts_audio: str
    tts_format: str
    extra: dict[str, Any] | UnsetType = UNSET


SessionMessage = SessionInit | Utterance | ClientHeartbeat | SessionClose
NodeMessage = NodeRegister | NodeHeartbeat | JobResult

session_decoder: Decoder[SessionMessage] = Decoder(SessionMessage)
node_decoder: Decoder[NodeMessage] = Decoder(NodeMessage)
encode = Encoder().encode
