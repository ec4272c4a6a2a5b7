"""Messages between sessions (web clients) and the scheduler.

Client messages decode with `decode_session`; a field marked optional may be missing or null.
Server messages are built by the gateway; only their small ones are structs here, because the
ones that carry audio are spliced from bytes (see scheduler/gateway/splice.py).
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.json import Decoder

Index = Annotated[int, Meta(ge=0, le=2**53)]
SampleRate = Annotated[int, Meta(ge=1, le=768_000)]
ShortText = Annotated[str, Meta(max_length=256)]
Token = Annotated[str, Meta(max_length=8_192)]
"""Signed ones are long; but a session keeps its `session_init`."""

Mode = Literal["one_way", "two_way_auto"]
Languages = Annotated[list[ShortText], Meta(max_length=64)]


class Features(Struct, omit_defaults=True):
    """Optional analyses and controls; null and missing mean "not asked for"."""

    emotion_detection: bool | None = None
    voice_style_detection: bool | None = None
    speech_rate_detection: bool | None = None
    speech_rate_control: bool | None = None
    speaker_identification: bool | None = None
    persona_adaptation: bool | None = None


class Pipeline(Struct):
    """Stages in use; null and missing mean "in use"."""

    use_asr: bool | None = None
    use_nmt: bool | None = None
    use_tts: bool | None = None


class SessionInit(Struct, tag="session_init"):
    """First message of a session."""

    client_version: ShortText
    platform: ShortText
    src_lang: ShortText
    tgt_lang: ShortText
    dialect: ShortText | None = None
    features: Features | None = None
    pairing_code: ShortText | None = None
    tenant_id: ShortText | None = None
    mode: Mode | None = None
    lang_a: ShortText | None = None
    lang_b: ShortText | None = None
    auto_langs: Languages | None = None
    enable_streaming_asr: bool | None = None
    partial_update_interval_ms: Index | None = None
    trace_id: ShortText | None = None
    pipeline: Pipeline | None = None
    audio_format: ShortText | None = None
    sample_rate: SampleRate | None = None
    token: Token | None = None
    resumable: bool | None = None


class SessionResume(Struct, tag="session_resume"):
    """First message on a new socket of a session that lost the one before.

    `replies_received` counts the terminal replies that the client got in the session so far.
    """

    session_id: ShortText
    resume_token: ShortText
    replies_received: Index


class Utterance(Struct, tag="utterance"):
    """One whole utterance. `audio` stays the JSON text it came as; it is never re-encoded."""

    session_id: ShortText
    utterance_index: Index
    manual_cut: bool
    src_lang: ShortText
    tgt_lang: ShortText
    audio: Raw
    audio_format: ShortText
    sample_rate: SampleRate
    dialect: ShortText | None = None
    features: Features | None = None
    mode: Mode | None = None
    lang_a: ShortText | None = None
    lang_b: ShortText | None = None
    auto_langs: Languages | None = None
    enable_streaming_asr: bool | None = None
    partial_update_interval_ms: Index | None = None
    trace_id: ShortText | None = None
    request_id: ShortText | None = None


class AudioChunk(Struct, tag="audio_chunk"):
    """A piece of the utterance being spoken, or its end."""

    seq: Index
    is_final: bool
    session_id: ShortText | None = None
    payload: str | None = None


class ClientHeartbeat(Struct, tag="client_heartbeat"):
    """Keeps a session alive; answered with `server_heartbeat`."""

    session_id: ShortText
    timestamp: int


class TtsPlayEnded(Struct, tag="tts_play_ended"):
    """The client finished playing a group's speech."""

    session_id: ShortText
    trace_id: ShortText
    group_id: ShortText
    ts_end_ms: int


class SessionClose(Struct, tag="session_close"):
    """Ends the session and cancels its jobs."""

    session_id: ShortText
    reason: str


SessionMessage = (
    SessionInit
    | SessionResume
    | Utterance
    | AudioChunk
    | ClientHeartbeat
    | TtsPlayEnded
    | SessionClose
)
session_decoder: Decoder[SessionMessage] = Decoder(SessionMessage)


class SessionInitAck(Struct, tag="session_init_ack"):
    """Answers `session_init`; `assigned_node_id` only when paired.

    The fields that may be missing are for sessions that may resume; those from `resumed` on answer
    `session_resume`. `received_seq` is the number of the last chunk of the utterance being spoken,
    `cut_seq` that of the one before; None where there is none.
    """

    session_id: str
    assigned_node_id: str | None
    message: str
    trace_id: str
    resume_token: str | UnsetType = UNSET
    resume_seconds: float | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    received_seq: int | UnsetType | None = UNSET
    received_bytes: int | UnsetType = UNSET
    cut_seq: int | UnsetType | None = UNSET
    next_utterance_index: int | UnsetType = UNSET


class UiEvent(Struct, tag="ui_event"):
    """Progress of one utterance, for people."""

    trace_id: str
    session_id: str
    job_id: str
    utterance_index: int
    event: str
    status: Literal["ok", "error"]
    elapsed_ms: int | UnsetType = UNSET
    error_code: str | UnsetType = UNSET
    hint: str | UnsetType = UNSET


class AsrPartial(Struct, tag="asr_partial"):
    """Recognised text so far."""

    session_id: str
    utterance_index: int
    job_id: str
    text: str
    is_final: bool
    trace_id: str


class ResultHead(Struct, tag="translation_result"):
    """What a `translation_result` says of its job."""

    session_id: str
    utterance_index: int
    job_id: str
    trace_id: str


class TranslationResult(ResultHead, tag="translation_result"):
    """The result of one utterance, as a client reads it; gateways splice it from bytes."""

    text_asr: str | None = None
    text_translated: str | None = None
    tts_audio: bytes | None = None
    tts_format: str | None = None
    extra: dict[str, Any] | None = None
    group_id: str | None = None
    part_index: int | None = None


class ServerHeartbeat(Struct, tag="server_heartbeat"):
    """Answers `client_heartbeat`; ms since the epoch."""

    session_id: str
    timestamp: int


class SessionCloseAck(Struct, tag="session_close_ack"):
    """Answers `session_close`; the socket is closed after it."""

    session_id: str


class ErrorMessage(Struct, tag="error"):
    """A typed refusal, to sessions and nodes alike."""

    code: str
    message: str
    details: dict[str, Any] | UnsetType = UNSET
