"""Settings: one typed struct per TOML table; defaults, bounds and help stand here and only here.

`load` reads a file, lays the environment over it and checks the whole. A value in the
environment is `SCHEDULER_` + the upper-case path joined by `__`:
`SCHEDULER_SERVER__PORT=6010`, `SCHEDULER_SCHEDULER__JOB_TIMEOUT_SECONDS=2`.

Durations are seconds and may be fractions. `configs/default.toml` is generated from this file
(`scheduler/config_reference.py`).
"""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from scheduler.errors import ConfigError
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import GATEWAYS_MAX, NODES_MAX
from scheduler.protocol.requirements import SERVICE_ID_BYTES_MAX

ENV_PREFIX = "SCHEDULER_"

ALIASES = {"MODEL_HUB_URL": "model_hub.base_url"}
"""Variables that deployments in the field set; those with the prefix win over them."""

SECRETS = frozenset({"server.admin_token"})
"""Keys whose values are never shown."""

MASK = "***"

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
ServiceId = Annotated[str, Meta(max_length=SERVICE_ID_BYTES_MAX)]
Bytes = Annotated[int, Meta(ge=1_024, le=1 << 40)]
Cores = list[Annotated[int, Meta(ge=0, le=4_095)]]
LogLevel = Literal["debug", "info", "warning", "error"]


class _Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A TOML table."""


Table = TypeVar("Table", bound=_Table)


def _help(text: str) -> Meta:
    return Meta(description=text)


class ServerSettings(_Table, frozen=True):
    """Addresses. Port 0 takes any free port and prints it."""

    host: Annotated[str, _help("address for sessions and nodes")] = "0.0.0.0"  # noqa: S104
    port: Annotated[Port, _help("port for sessions and nodes; 0 takes a free one")] = 5010
    ops_host: Annotated[str, _help("address for operators")] = "127.0.0.1"
    ops_port: Annotated[Port, _help("port for operators; 0 takes a free one")] = 5011
    admin_token: Annotated[
        str,
        _help("operators show it to drain and resume nodes; needed where ops_host is not loopback"),
    ] = ""
    public_stats: Annotated[bool, _help("serve /api/v1/stats on the public port too")] = False
    allowed_origins: Annotated[
        list[str],
        _help("Origin headers that browsers may connect from, as https://app.example; [] = any"),
    ] = []
    tls_cert_path: Annotated[
        str,
        _help(
            "certificate for sessions and nodes, PEM, with those between it and its CA below it; "
            '"" = no TLS'
        ),
    ] = ""
    tls_key_path: Annotated[str, _help("its private key, PEM, not encrypted")] = ""
    tls_client_ca_path: Annotated[
        str,
        _help(
            "CA certificates, PEM, of client certificates; needed for "
            'identity.nodes_need_certificate; "" = none are asked for'
        ),
    ] = ""
    hints: Annotated[
        dict[ErrorCode, Annotated[str, Meta(min_length=1, max_length=500)]],
        _help(
            "sentences that people are shown instead of the English ones, by error code; "
            'as in { JOB_TIMEOUT = "Das hat zu lange gedauert." }'
        ),
    ] = {}


class IdentitySettings(_Table, frozen=True):
    """Who may open sessions and register nodes: see docs/security.md. Off unless set."""

    node_tokens_path: Annotated[
        str, _help('hashed tokens of nodes, one a line; nodes need one where it is set; "" = off')
    ] = ""
    session_tokens_path: Annotated[
        str,
        _help('hashed tokens of clients, one a line; sessions need one where it is set; "" = off'),
    ] = ""
    jwt_keys_path: Annotated[
        str,
        _help(
            "keys of signed session tokens (JWT), one a line; sessions need one, or a token of "
            'session_tokens_path, where it is set; "" = off'
        ),
    ] = ""
    jwt_issuer: Annotated[str, _help("what iss must say in them")] = ""
    jwt_audience: Annotated[str, _help("what aud must say in them, or have among others")] = ""
    jwt_leeway_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=300)], _help("by which clocks may differ")
    ] = 10.0
    jwt_max_ahead_seconds: Annotated[Seconds, _help("exp may be so far ahead")] = 3_600.0
    nodes_need_certificate: Annotated[
        bool, _help("nodes need a client certificate of server.tls_client_ca_path")
    ] = False
    wrong_per_address_max: Annotated[
        Count, _help("refusals of one address in a window, by each gateway; then none is checked")
    ] = 20
    window_seconds: Annotated[Seconds, _help("window of wrong_per_address_max")] = 60.0

    @property
    def sessions_need_token(self) -> bool:
        """Whether a session must show who it is."""
        return bool(self.session_tokens_path or self.jwt_keys_path)

    @property
    def nodes_need_proof(self) -> bool:
        """Whether a node must show who it is, by token or certificate."""
        return bool(self.node_tokens_path) or self.nodes_need_certificate


class ModelHubSettings(_Table, frozen=True):
    """Where the service catalogue comes from."""

    base_url: Annotated[
        str,
        _help(
            'catalogue is fetched from <base_url>/api/services; "" = nowhere; the variable '
            "MODEL_HUB_URL sets it too"
        ),
    ] = "http://localhost:5000"
    storage_path: Annotated[
        str, _help('folder with services_index.json, used before the hub answered; "" = none')
    ] = ""
    refresh_seconds: Annotated[Seconds, _help("time between fetches")] = 30.0
    timeout_seconds: Annotated[Seconds, _help("for one whole fetch")] = 20.0
    connect_timeout_seconds: Annotated[Seconds, _help("for connecting")] = 3.0


class JobTimeoutSettings(_Table, frozen=True):
    """What happens to jobs that take too long."""

    pending_timeout_seconds: Annotated[Seconds, _help("wait for a free node")] = 10.0
    failover_max_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=100)], _help("attempts a job gets in all")
    ] = 3
    send_cancel: Annotated[bool, _help("send job_cancel to a node that ran out of time")] = True


class LoadBalancerSettings(_Table, frozen=True):
    """How a node is picked."""

    strategy: Annotated[
        Literal["least_connections", "least_utilization"],
        _help("fewest jobs, or lowest share of jobs to capacity"),
    ] = "least_connections"
    shadow_strategy: Annotated[
        Literal["", "least_connections", "least_utilization"],
        _help('also scores recorded decisions, to show how often it would differ; "" = none'),
    ] = ""
    cpu_limit: Annotated[Percent, _help("nodes above it are skipped, percent")] = 90.0
    gpu_limit: Annotated[Percent, _help("nodes above it are skipped, percent")] = 90.0
    memory_limit: Annotated[Percent, _help("nodes above it are skipped, percent")] = 90.0


class NodeHealthSettings(_Table, frozen=True):
    """When a node is fit for jobs."""

    heartbeat_interval_seconds: Annotated[Seconds, _help("nodes are expected to beat")] = 15.0
    heartbeat_timeout_seconds: Annotated[Seconds, _help("a node silent for longer is offline")] = (
        45.0
    )
    health_check_count: Annotated[Count, _help("healthy heartbeats in a row to be ready")] = 1
    warmup_timeout_seconds: Annotated[Seconds, _help("a node not ready by then is degraded")] = 60.0
    window_size: Annotated[
        Annotated[int, Meta(ge=1, le=1_000)], _help("heartbeats that failure_count looks back")
    ] = 5
    failure_count: Annotated[Count, _help("unhealthy ones in the window to be degraded")] = 3
    consecutive_failure_count: Annotated[Count, _help("unhealthy ones in a row to be degraded")] = 3
    forget_after_seconds: Annotated[
        Seconds, _help("an offline node's row is freed; sooner where the table is full")
    ] = 300.0


class ModelNotAvailableSettings(_Table, frozen=True):
    """What MODEL_NOT_AVAILABLE from a node does to it."""

    unavailable_ttl_seconds: Annotated[
        Seconds, _help("the node gets no job that needs the service")
    ] = 60.0
    debounce_window_seconds: Annotated[
        Seconds, _help("repeats of a node for one service and version count once")
    ] = 5.0
    node_ratelimit_window_seconds: Annotated[Seconds, _help("window of node_ratelimit_max")] = 10.0
    node_ratelimit_max: Annotated[Count, _help("marks one node may get in a window")] = 30


class OutlierEjectionSettings(_Table, frozen=True):
    """When a node that fails job after job gets none for a while."""

    consecutive_failures: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)], _help("in a row; 0 = never ejected")
    ] = 5
    base_ejection_seconds: Annotated[
        Seconds, _help("the first time; doubles with each that follows soon")
    ] = 30.0
    max_ejection_seconds: Annotated[Seconds, _help("the longest")] = 300.0
    max_ejected_percent: Annotated[
        Percent, _help("of the ready nodes at once, but one at least")
    ] = 30.0
    slow_start_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        _help("after it, in which the node's slots are given out by and by"),
    ] = 30.0


class RetryBudgetSettings(_Table, frozen=True):
    """How many jobs may get another attempt after a node failed them."""

    share_percent: Annotated[
        Annotated[float, Meta(ge=0, le=1_000)], _help("retries per fresh jobs, percent")
    ] = 20.0
    retries_per_second_min: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        _help("always allowed, however few jobs there are"),
    ] = 10


class TenantSettings(_Table, frozen=True):
    """What a tenant gets while jobs have to wait."""

    weight: Annotated[
        Annotated[int, Meta(ge=1, le=1_000)],
        _help("served so many times as often as a weight of 1"),
    ] = 1
    priority: Annotated[
        Annotated[int, Meta(ge=0, le=7)], _help("served before all with a lower one")
    ] = 0


class FairnessSettings(_Table, frozen=True):
    """How jobs that wait share the nodes. Sessions without a tenant are each on their own."""

    tenants: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=128)], TenantSettings],
        _help(
            "by tenant_id, as in { acme = { weight = 4, priority = 1 } }; without "
            "identity anyone may claim any tenant_id"
        ),
    ] = {}


class TaskBindingSettings(_Table, frozen=True):
    """How long a job is bound to what."""

    lease_seconds: Annotated[Seconds, _help("a repeated request inside it gives the same job")] = (
        90.0
    )
    reserved_ttl_seconds: Annotated[Seconds, _help("longest hold of a node's slot")] = 90.0
    spread_enabled: Annotated[bool, _help("avoid the node that ran the session's previous job")] = (
        False
    )
    spread_window_seconds: Annotated[Seconds, _help("for this long after it")] = 30.0


class SegmentationSettings(_Table, frozen=True):
    """How streamed audio is cut into utterances."""

    pause_ms: Annotated[
        Annotated[int, Meta(ge=1, le=3_600_000)], _help("silence that ends an utterance")
    ] = 1000


class CoreServicesSettings(_Table, frozen=True):
    """Services that the stages of a pipeline need; "" = none."""

    asr_service_id: Annotated[ServiceId, _help("for use_asr")] = "node-inference"
    nmt_service_id: Annotated[ServiceId, _help("for use_nmt")] = "nmt-m2m100"
    tts_service_id: Annotated[ServiceId, _help("for use_tts")] = "piper-tts"


Services = Annotated[list[ServiceId], Meta(max_length=16)]
"""Six features of 16 and the core ones are far fewer than the bits there are for services."""


class FeatureServicesSettings(_Table, frozen=True):
    """Services that asked features need besides the core ones."""

    emotion_detection: Annotated[Services, _help("services of this feature")] = []
    voice_style_detection: Annotated[Services, _help("services of this feature")] = []
    speech_rate_detection: Annotated[Services, _help("services of this feature")] = []
    speech_rate_control: Annotated[Services, _help("services of this feature")] = []
    speaker_identification: Annotated[Services, _help("services of this feature")] = []
    persona_adaptation: Annotated[Services, _help("services of this feature")] = []


class SchedulerSettings(_Table, frozen=True):
    """Placement of jobs on nodes."""

    max_concurrent_jobs_per_node: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)], _help("slots of a node that names no number")
    ] = 4
    require_gpu: Annotated[bool, _help("refuse nodes without a GPU")] = False
    job_timeout_seconds: Annotated[Seconds, _help("for one attempt, from dispatch")] = 30.0
    job_timeout: JobTimeoutSettings = field(default_factory=JobTimeoutSettings)
    load_balancer: LoadBalancerSettings = field(default_factory=LoadBalancerSettings)
    node_health: NodeHealthSettings = field(default_factory=NodeHealthSettings)
    model_not_available: ModelNotAvailableSettings = field(
        default_factory=ModelNotAvailableSettings
    )
    outlier_ejection: OutlierEjectionSettings = field(default_factory=OutlierEjectionSettings)
    retry_budget: RetryBudgetSettings = field(default_factory=RetryBudgetSettings)
    fairness: FairnessSettings = field(default_factory=FairnessSettings)
    task_binding: TaskBindingSettings = field(default_factory=TaskBindingSettings)
    web_task_segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    core_services: CoreServicesSettings = field(default_factory=CoreServicesSettings)
    feature_services: FeatureServicesSettings = field(default_factory=FeatureServicesSettings)


class PairingSettings(_Table, frozen=True):
    """Pairing codes of nodes."""

    code_ttl_seconds: Annotated[Seconds, _help("a code may be used")] = 300.0
    wrong_per_address_max: Annotated[Count, _help("wrong guesses from one address in a window")] = 5
    wrong_total_max: Annotated[Count, _help("wrong guesses from everywhere in a window")] = 100
    window_seconds: Annotated[Seconds, _help("window of both")] = 60.0


class LimitSettings(_Table, frozen=True):
    """Bounds. Whoever exceeds one gets a typed refusal."""

    nodes_max: Annotated[
        Annotated[int, Meta(ge=1, le=NODES_MAX)], _help("rows of the node table")
    ] = 4_096
    sessions_per_gateway_max: Annotated[Count, _help("sessions of one gateway")] = 16_384
    connections_per_gateway_max: Annotated[Count, _help("sockets of one gateway")] = 20_000
    connections_per_address_max: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        _help(
            "sockets that one address (of IPv6: one /64) may have open at each gateway process, so "
            "as often as there are gateways in all; above, WebSockets are refused; behind a proxy "
            "all peers have its address; 0 = no limit"
        ),
    ] = 0
    jobs_per_session_max: Annotated[Count, _help("unfinished jobs of a session")] = 32
    audio_bytes_per_session_max: Annotated[
        Bytes,
        _help(
            "audio of a session's unfinished jobs, in base64, so that no session fills "
            "arena_bytes; a single job may be longer"
        ),
    ] = 16 << 20
    pending_per_class_max: Annotated[Count, _help("jobs waiting for a node, per requirement")] = (
        10_000
    )
    pending_total_max: Annotated[Count, _help("jobs waiting for a node, in all")] = 50_000
    message_bytes_max: Annotated[Bytes, _help("one WebSocket message")] = 8 << 20
    utterance_bytes_max: Annotated[Bytes, _help("audio streamed for one utterance")] = 4 << 20
    unfinished_bytes_max: Annotated[
        Bytes,
        _help(
            "messages that are not whole yet, of one gateway in all; above, the longest unfinished "
            "is given up; as much again of utterances that are being spoken"
        ),
    ] = 512 << 20
    arena_bytes: Annotated[
        Bytes, _help("payload memory of each gateway; used where there are several")
    ] = 64 << 20
    memory_bytes_max: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 50)],
        _help("physical memory of a gateway above which it takes no new work; 0 = no limit"),
    ] = 0
    write_buffer_bytes_max: Annotated[
        Bytes, _help("unsent bytes at which a slow reader is cut off")
    ] = 32 << 20
    messages_per_second_max: Annotated[Count, _help("messages from one connection")] = 200
    node_messages_per_second_max: Annotated[
        Count, _help("messages from a registered node: its results, partial texts, heartbeats")
    ] = 5_000
    handshake_timeout_seconds: Annotated[Seconds, _help("for the WebSocket handshake")] = 10.0
    first_message_timeout_seconds: Annotated[
        Seconds, _help("for session_init or node_register")
    ] = 30.0
    ping_interval_seconds: Annotated[Seconds, _help("time between keepalive pings")] = 20.0
    ping_timeout_seconds: Annotated[Seconds, _help("for the pong")] = 20.0
    close_timeout_seconds: Annotated[Seconds, _help("for the closing handshake")] = 5.0
    resume_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        _help("a session that lost its socket may resume, if it asked to; 0 = never"),
    ] = 30.0
    suspended_sessions_max: Annotated[
        Count, _help("sessions of one gateway that wait to be resumed; above, the oldest ends")
    ] = 4_096
    suspended_bytes_max: Annotated[
        Bytes, _help("replies kept for a session to be resumed; above, it ends")
    ] = 8 << 20


class StatsSettings(_Table, frozen=True):
    """Snapshots."""

    refresh_seconds: Annotated[Seconds, _help("time between snapshots")] = 5.0
    snapshot_path: Annotated[str, _help('snapshot file; "" = <runtime_dir>/snapshot.json')] = ""


class ObservabilitySettings(_Table, frozen=True):
    """Logs. All but `path_warn_ms` can be changed while it runs: see docs/operations.md."""

    log_level: Annotated[LogLevel, _help("least severe level shown")] = "info"
    levels: Annotated[
        # What SIGHUP changes goes to the other processes in one control message.
        Annotated[dict[Annotated[str, Meta(max_length=128)], LogLevel], Meta(max_length=64)],
        _help(
            "levels of single modules and those below them; a name and its level each, as in "
            '{ "scheduler.gateway" = "debug" }'
        ),
    ] = {}
    log_format: Annotated[
        Literal["auto", "console", "json"], _help("auto: console on a terminal, else JSON")
    ] = "auto"
    path_warn_ms: Annotated[
        Annotated[int, Meta(ge=1, le=3_600_000)], _help("slower passes are logged and counted")
    ] = 50


class CpuAffinitySettings(_Table, frozen=True):
    """Cores each role may run on; [] = any. Gateway i takes the i-th core, round robin."""

    supervisor: Annotated[Cores, _help("cores of the supervisor")] = []
    gateway: Annotated[Cores, _help("cores of the gateways, one each")] = []
    dispatcher: Annotated[Cores, _help("cores of the dispatcher")] = []
    stats: Annotated[Cores, _help("cores of the stats process")] = []


class Config(_Table, frozen=True):
    """The whole configuration."""

    gateways: Annotated[
        Annotated[int, Meta(ge=0, le=GATEWAYS_MAX)],
        _help("gateway processes; 0 = cores - 1, at least 1"),
    ] = 0
    runtime_dir: Annotated[
        str,
        _help(
            "folder for the snapshot and the memory path; "
            '"" = $XDG_RUNTIME_DIR/lingua-scheduler, else /tmp/lingua-scheduler-<uid>'
        ),
    ] = ""
    drain_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)], _help("jobs in flight may finish at shutdown")
    ] = 10.0
    bundles_max: Annotated[
        Annotated[int, Meta(ge=0, le=1_000)],
        _help(
            "newest bundles kept in <runtime_dir>/crashes of what was known when a process died; "
            "0 = none"
        ),
    ] = 8
    server: ServerSettings = field(default_factory=ServerSettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    pairing: PairingSettings = field(default_factory=PairingSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    model_hub: ModelHubSettings = field(default_factory=ModelHubSettings)
    stats: StatsSettings = field(default_factory=StatsSettings)
    observability: ObservabilitySettings = field(default_factory=ObservabilitySettings)
    cpu_affinity: CpuAffinitySettings = field(default_factory=CpuAffinitySettings)

    @property
    def gateways_total(self) -> int:
        """Number of gateway processes, with 0 resolved for this machine."""
        return self.gateways or max(1, len(os.sched_getaffinity(0)) - 1)

    @property
    def runtime_path(self) -> Path:
        """The runtime folder, with "" resolved for this user."""
        if self.runtime_dir:
            return Path(self.runtime_dir).absolute()
        base = os.environ.get("XDG_RUNTIME_DIR")
        if base:
            return Path(base) / "lingua-scheduler"
        return Path(f"/tmp/lingua-scheduler-{os.getuid()}")  # noqa: S108 - checked when made

    @property
    def snapshot_path(self) -> Path:
        """The snapshot file, with "" resolved."""
        return Path(self.stats.snapshot_path or self.runtime_path / "snapshot.json").absolute()


def without_secrets(config: Config) -> Config:
    """Return the settings with "***" for each secret that is set."""
    for key in SECRETS:
        config = _replace(config, key.split("."), MASK)
    return config


def _replace(table: Table, names: list[str], shown: str) -> Table:
    name, *below = names
    value = getattr(table, name)
    if below:
        value = _replace(value, below, shown)
    elif value:
        value = shown
    return msgspec.structs.replace(table, **{name: value})


def load(path: str | Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the file at `path` (None: defaults alone) and lay `environ` over it.

    Raises ConfigError that names the file or variable, the key, the value and what is allowed.
    """
    raw = _read(Path(path)) if path is not None else {}
    source = str(path) if path is not None else "defaults"
    config = _convert(raw, source)
    variables = _apply_environment(raw, os.environ if environ is None else environ)
    if variables:
        source = f"{source} and the environment"
        config = _convert(raw, source, variables)
    _check_relations(config, source)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _convert(
    raw: dict[str, Any], source: str, variables: Mapping[str, str] | None = None
) -> Config:
    try:
        return msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), raw, source, variables or {})) from None


def _explain(problem: str, raw: dict[str, Any], source: str, variables: Mapping[str, str]) -> str:
    """Turn msgspec's "Expected … - at `$.a.b`" into file, key, value, what is allowed."""
    wrong_name = re.fullmatch(r"Invalid enum value '(.*)' - at `key` in `\$\.(.+)`", problem)
    if wrong_name:  # of a table whose names are error codes
        return (
            f"{source}: {wrong_name[2]} names {wrong_name[1]!r}; allowed are the error codes: "
            f"{', '.join(ErrorCode)}"
        )
    what, _, where = problem.partition(" - at `$")
    key = re.sub(r"\[(?:\d+|\.\.\.)\].*", "", where.rstrip("`")).lstrip(".")
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        allowed = table_at(key).__struct_fields__
        near = difflib.get_close_matches(unknown[1], allowed, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return (
            f"{source}: unknown key {_join(key, unknown[1])}{guess}; "
            f"allowed here: {', '.join(allowed)}"
        )
    value: Any = raw
    for name in filter(None, key.split(".")):
        value = value[name]
    if what.startswith("Invalid enum value"):
        *tables, name = key.split(".")
        choices = msgspec.inspect.type_info(_field_type(table_at(".".join(tables)), name))
        what = f"expected one of {', '.join(_literals(choices))}"
    place = variables.get(key, source)
    shown = "***" if key in SECRETS else repr(value)
    return f"{place}: {key} = {shown} is not allowed: {what[0].lower()}{what[1:]}"


def _literals(info: msgspec.inspect.Type) -> list[str]:
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.DictType):
        info = info.value_type
    assert isinstance(info, msgspec.inspect.LiteralType)
    return [repr(value) for value in info.values]


def _join(table: str, name: str) -> str:
    return f"{table}.{name}" if table else name


def table_at(path: str) -> type[Struct]:
    """Return the struct of the table at a dotted path; raise KeyError where there is none."""
    table: type[Struct] = Config
    for name in filter(None, path.split(".")):
        table = _field_type(table, name)
        if not (isinstance(table, type) and issubclass(table, Struct)):
            raise KeyError(path)
    return table


def _field_type(table: type[Struct], name: str) -> Any:
    for info in msgspec.structs.fields(table):
        if info.name == name:
            return info.type
    raise KeyError(name)


def _apply_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Write the environment's values into `raw`; return the variable that set each key."""
    variables = {}
    for alias, key in ALIASES.items():
        if environ.get(alias):
            table, _, name = key.rpartition(".")
            raw.setdefault(table, {})[name] = environ[alias]
            variables[key] = alias
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        names = variable.removeprefix(ENV_PREFIX).lower().split("__")
        key = ".".join(names)
        try:
            kind = _field_type(table_at(".".join(names[:-1])), names[-1])
        except KeyError:
            raise ConfigError(
                f"environment: {variable} is no setting ({key}); unset it or see "
                "configs/default.toml for all keys"
            ) from None
        target = raw
        for name in names[:-1]:
            target = target.setdefault(name, {})
        target[names[-1]] = _parse_variable(variable, environ[variable], kind)
        variables[key] = variable
    return variables


def _parse_variable(variable: str, text: str, kind: Any) -> Any:
    """Read `text` as TOML where the setting isn't text, so that lists and booleans work."""
    info = msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.StrType | msgspec.inspect.LiteralType):
        return text
    if isinstance(info, msgspec.inspect.StructType):
        raise ConfigError(f"environment: {variable} names a table; name one of its keys")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # of the wrong type, which the conversion reports with the key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port  # raises where it is no number in range
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0


def _check_relations(config: Config, source: str) -> None:
    """Hold the relations between settings that no single bound can."""
    health = config.scheduler.node_health
    relations = [
        (
            health.heartbeat_timeout_seconds > health.heartbeat_interval_seconds,
            "scheduler.node_health.heartbeat_timeout_seconds "
            f"= {health.heartbeat_timeout_seconds} must be greater than "
            f"heartbeat_interval_seconds = {health.heartbeat_interval_seconds}",
        ),
        (
            health.failure_count <= health.window_size,
            f"scheduler.node_health.failure_count = {health.failure_count} "
            f"must be at most window_size = {health.window_size}",
        ),
        (
            config.limits.utterance_bytes_max * 4 // 3 + 4096 <= config.limits.arena_bytes,
            f"limits.utterance_bytes_max = {config.limits.utterance_bytes_max} in base64 "
            f"must fit limits.arena_bytes = {config.limits.arena_bytes}",
        ),
        (
            config.limits.message_bytes_max <= config.limits.write_buffer_bytes_max,
            f"limits.write_buffer_bytes_max = {config.limits.write_buffer_bytes_max} must be at "
            f"least limits.message_bytes_max = {config.limits.message_bytes_max}",
        ),
        (
            config.limits.suspended_bytes_max <= config.limits.write_buffer_bytes_max,
            f"limits.write_buffer_bytes_max = {config.limits.write_buffer_bytes_max} must be at "
            f"least limits.suspended_bytes_max = {config.limits.suspended_bytes_max}",
        ),
        (
            max(config.limits.message_bytes_max, config.limits.utterance_bytes_max)
            <= config.limits.unfinished_bytes_max,
            f"limits.unfinished_bytes_max = {config.limits.unfinished_bytes_max} must be at least "
            "limits.message_bytes_max and limits.utterance_bytes_max",
        ),
        (
            not config.model_hub.base_url or _is_web_address(config.model_hub.base_url),
            f"model_hub.base_url = {config.model_hub.base_url!r} is no web address; "
            "use one as http://hub.example:5000",
        ),
        (
            bool(config.server.admin_token) or _is_loopback(config.server.ops_host),
            f"server.ops_host = {config.server.ops_host!r} can be reached from other machines; "
            "set server.admin_token, or use 127.0.0.1",
        ),
        (
            config.server.port != config.server.ops_port or config.server.port == 0,
            f"server.port and server.ops_port are both {config.server.port}; "
            "give them different ports",
        ),
    ]
    relations += _identity_relations(config.server, config.identity)
    relations += [
        (
            len(service.encode()) <= SERVICE_ID_BYTES_MAX,
            f"scheduler.*_services names {service!r}, which is longer than "
            f"{SERVICE_ID_BYTES_MAX} bytes of UTF-8",
        )
        for service in _configured_services(config)
    ]
    relations += [
        (
            _is_module(name),
            f"observability.levels names {name!r}, which is no module of the scheduler; "
            "use one as scheduler.gateway",
        )
        for name in config.observability.levels
    ]
    for holds, message in relations:
        if not holds:
            raise ConfigError(f"{source}: {message}")


def _identity_relations(
    server: ServerSettings, identity: IdentitySettings
) -> list[tuple[bool, str]]:
    """Whatever would leave peers unchecked without a word is refused."""
    return [
        (
            bool(server.tls_cert_path) == bool(server.tls_key_path),
            "server.tls_cert_path and server.tls_key_path belong together; set both or none",
        ),
        (
            not server.tls_client_ca_path or bool(server.tls_cert_path),
            "server.tls_client_ca_path needs TLS; set server.tls_cert_path and "
            "server.tls_key_path too",
        ),
        (
            not identity.nodes_need_certificate or bool(server.tls_client_ca_path),
            "identity.nodes_need_certificate needs a CA to check them; set "
            "server.tls_client_ca_path",
        ),
        (
            not identity.jwt_keys_path or bool(identity.jwt_issuer and identity.jwt_audience),
            "identity.jwt_keys_path needs identity.jwt_issuer and identity.jwt_audience, "
            "or tokens made for others would be good here",
        ),
        (
            bool(identity.jwt_keys_path) or not (identity.jwt_issuer or identity.jwt_audience),
            "identity.jwt_issuer and identity.jwt_audience check nothing without "
            "identity.jwt_keys_path; set it, or leave them out",
        ),
    ]


def _is_module(name: str) -> bool:
    """Return whether there is such a module or package of ours, without importing it."""
    package, *parts = name.split(".")
    path = Path(__file__).parent.joinpath(*parts)
    if package != "scheduler" or not all(part.isidentifier() for part in parts):
        return False
    return path.is_dir() or path.with_suffix(".py").is_file()


def _configured_services(config: Config) -> list[str]:
    core = msgspec.structs.astuple(config.scheduler.core_services)
    features = msgspec.structs.astuple(config.scheduler.feature_services)
    return [*core, *(service for services in features for service in services)]
