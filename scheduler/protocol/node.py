"""Messages between nodes (workers) and the scheduler."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.json import Decoder

from scheduler.protocol.session import Features, Index, Mode, Pipeline, ShortText, Token

ModelStatus = Literal["ready", "downloading", "not_installed", "error"]
CapabilityState = Annotated[dict[ShortText, ModelStatus], Meta(max_length=4096)]
GigaBytes = Annotated[float, Meta(ge=0, le=1 << 20)]
Command = Literal["drain", "resume", "shutdown"]

CAPABILITY_SCHEMA_VERSION = "1.0"

RUNNING_JOBS_MAX = 2048
"""Attempts that a node may name when it comes back: they fit into a first message, and cost its
gateway a few ms."""


class Gpu(Struct):
    """One GPU of a node; memory in GB."""

    name: ShortText
    memory_gb: GigaBytes


class Hardware(Struct):
    """What a node is made of; memory in GB."""

    cpu_cores: Annotated[int, Meta(ge=0, le=65_536)]
    memory_gb: GigaBytes
    gpus: Annotated[list[Gpu], Meta(max_length=256)] | None = None


class InstalledModel(Struct):
    """A model on a node's disk."""

    model_id: ShortText
    kind: ShortText
    version: ShortText
    src_lang: ShortText | None = None
    tgt_lang: ShortText | None = None
    dialect: ShortText | None = None
    enabled: bool | None = None


class InstalledService(Struct):
    """A service a node can run."""

    service_id: Annotated[str, Meta(min_length=1, max_length=64)]
    version: ShortText
    platform: ShortText


Services = Annotated[list[InstalledService], Meta(max_length=256)]
Models = Annotated[list[InstalledModel], Meta(max_length=4096)]


class ResourceUsage(Struct):
    """Usage in percent; figures outside 0-100 make the heartbeat an unhealthy one."""

    cpu_percent: float
    mem_percent: float
    running_jobs: int
    gpu_percent: float | None = None
    gpu_mem_percent: float | None = None


class RunningJob(Struct):
    """An attempt that a node still works on when it comes back."""

    job_id: ShortText
    attempt_id: Index


class NodeRegister(Struct, tag="node_register"):
    """First message of a node."""

    version: ShortText
    platform: ShortText
    hardware: Hardware
    installed_models: Models
    features_supported: Features
    accept_public_jobs: bool
    node_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    capability_schema_version: ShortText | None = None
    installed_services: Services | None = None
    advanced_features: Annotated[list[ShortText], Meta(max_length=256)] | None = None
    capability_state: CapabilityState | None = None
    max_concurrent_jobs: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    name: Annotated[str, Meta(max_length=64)] | None = None
    token: Token | None = None
    running_jobs: Annotated[list[RunningJob], Meta(max_length=RUNNING_JOBS_MAX)] | None = None


class NodeHeartbeat(Struct, tag="node_heartbeat"):
    """Usage now; services and their state where they changed."""

    node_id: ShortText
    timestamp: int
    resource_usage: ResourceUsage
    installed_models: Models | None = None
    installed_services: Services | None = None
    capability_state: CapabilityState | None = None


class NodeFailure(Struct):
    """Why a job failed on its node. `details` stay raw JSON text, null where there are none."""

    code: ShortText
    message: str
    details: Raw = Raw(b"null")


class JobResult(Struct, tag="job_result"):
    """End of an attempt. Fields the scheduler only passes on stay raw JSON text."""

    job_id: ShortText
    attempt_id: Index
    node_id: ShortText
    session_id: ShortText
    utterance_index: Index
    success: bool
    trace_id: ShortText
    text_asr: str | None = None
    text_translated: str | None = None
    tts_audio: Raw = Raw(b"null")
    tts_format: ShortText | None = None
    extra: Raw = Raw(b"null")
    processing_time_ms: float | None = None
    error: NodeFailure | None = None
    group_id: ShortText | None = None
    part_index: Index | None = None


class NodeAsrPartial(Struct, tag="asr_partial"):
    """Recognised text so far, from the node that runs the job."""

    job_id: ShortText
    node_id: ShortText
    session_id: ShortText
    utterance_index: Index
    text: str
    is_final: bool
    trace_id: ShortText


class NodeError(Struct, tag="node_error"):
    """Something is wrong with the node itself, not with one job. `details` are not looked at."""

    node_id: ShortText
    code: ShortText
    message: str
    details: Raw = Raw(b"null")


class RequestPairingCode(Struct, tag="request_pairing_code"):
    """Asks for a code with which a session can pair with this node."""


NodeMessage = (
    NodeRegister | NodeHeartbeat | JobResult | NodeAsrPartial | NodeError | RequestPairingCode
)
node_decoder: Decoder[NodeMessage] = Decoder(NodeMessage)


class NodeRegisterAck(Struct, tag="node_register_ack"):
    """Answers `node_register`."""

    node_id: str
    message: str
    status: str


class NodeStatus(Struct, tag="node_status"):
    """Sent on every change of the node's status; `timestamp` in seconds."""

    node_id: str
    status: str
    timestamp: int
    reason: str | UnsetType = UNSET


class JobAssignHead(Struct, tag="job_assign", omit_defaults=True, kw_only=True):
    """A `job_assign` but for its audio and its attempt, which gateways splice in as bytes."""

    job_id: str
    session_id: str
    utterance_index: int
    src_lang: str
    tgt_lang: str
    dialect: str | None = None
    features: Features | None = None
    pipeline: Pipeline
    audio_format: str
    sample_rate: int
    mode: Mode | None = None
    lang_a: str | None = None
    lang_b: str | None = None
    auto_langs: list[str] | None = None
    enable_streaming_asr: bool | None = None
    partial_update_interval_ms: int | None = None
    trace_id: str
    group_id: str | None = None
    part_index: int | None = None
    context_text: str | None = None


class JobAssign(JobAssignHead, tag="job_assign", kw_only=True):
    """A job, as a node reads it. `audio` is what `audio_format` and `sample_rate` (Hz) say."""

    attempt_id: int
    audio: bytes


class JobCancel(Struct, tag="job_cancel"):
    """Tells a node to stop an attempt whose result nobody waits for."""

    job_id: str
    trace_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class NodeControl(Struct, tag="node_control"):
    """An operator's command to a node."""

    command: Command
    reason: str | UnsetType = UNSET


class PairingCode(Struct, tag="pairing_code"):
    """A single-use code of six digits."""

    code: str
    expires_in_seconds: int
