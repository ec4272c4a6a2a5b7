"""What the clients receive, as typed structs: the protocol's own, and those that carry audio.

Audio fields are bytes here; base64 exists only on the wire. Unknown fields are ignored.
"""

from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from scheduler.protocol.node import JobCancel, NodeControl, NodeRegisterAck, NodeStatus, PairingCode
from scheduler.protocol.session import (
    AsrPartial,
    ErrorMessage,
    Features,
    Mode,
    Pipeline,
    ServerHeartbeat,
    SessionCloseAck,
    SessionInitAck,
    UiEvent,
)


class TranslationResult(Struct, tag="translation_result"):
    """The result of one utterance. `tts_audio` is empty where there is no speech."""

    session_id: str
    utterance_index: int
    job_id: str
    trace_id: str
    text_asr: str | None = None
    text_translated: str | None = None
    tts_audio: bytes | None = None
    tts_format: str | None = None
    extra: dict[str, Any] | None = None
    group_id: str | None = None
    part_index: int | None = None


class JobAssign(Struct, tag="job_assign"):
    """A job for a node. `audio` is what `audio_format` and `sample_rate` (Hz) say."""

    job_id: str
    attempt_id: int
    session_id: str
    utterance_index: int
    src_lang: str
    tgt_lang: str
    pipeline: Pipeline
    audio: bytes
    audio_format: str
    sample_rate: int
    trace_id: str
    dialect: str | None = None
    features: Features | None = None
    mode: Mode | None = None
    lang_a: str | None = None
    lang_b: str | None = None
    auto_langs: list[str] | None = None
    enable_streaming_asr: bool | None = None
    partial_update_interval_ms: int | None = None
    group_id: str | None = None
    part_index: int | None = None
    context_text: str | None = None


SessionEvent = (
    SessionInitAck
    | AsrPartial
    | TranslationResult
    | UiEvent
    | ServerHeartbeat
    | SessionCloseAck
    | ErrorMessage
)
session_event_decoder: Decoder[SessionEvent] = Decoder(SessionEvent)

NodeOrder = (
    NodeRegisterAck | NodeStatus | JobAssign | JobCancel | NodeControl | PairingCode | ErrorMessage
)
node_order_decoder: Decoder[NodeOrder] = Decoder(NodeOrder)
