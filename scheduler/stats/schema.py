"""What a snapshot says: the one place where its fields are named.

`web_clients` and `nodes` are read by dashboards in the field, so their names are binding;
`scheduler` and `snapshot` may grow.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class LanguageCount(Struct, frozen=True):
    """A language and how many open sessions use it."""

    language: str
    count: int


class LanguageUsage(Struct, frozen=True):
    """How many open sessions speak a language, and how many have it spoken to them."""

    as_source: int
    as_target: int
    total: int


class WebClients(Struct, frozen=True):
    """Open sessions."""

    active_users: int
    top_languages: list[LanguageCount]
    language_usage: dict[str, LanguageUsage]


class Artifact(Struct, frozen=True):
    """Where a variant of a service is downloaded."""

    type: str
    url: str
    sha256: str
    size_bytes: Annotated[int, Meta(ge=0)]


class ServiceVariant(Struct, frozen=True):
    """A service as built for one platform."""

    version: str
    platform: str
    artifact: Artifact


class ServiceInfo(Struct, frozen=True):
    """A service of the catalogue, as the model hub describes it."""

    service_id: str
    name: str
    latest_version: str
    variants: list[ServiceVariant]


class NodePower(Struct, frozen=True):
    """What one node has left: cores, and GB of GPU and main memory."""

    node_id: str
    node_name: str
    cpu_power: float
    gpu_power: float
    memory_power: float


class ComputePower(Struct, frozen=True):
    """What the connected nodes have left below the configured limits."""

    total_cpu_power: float
    total_gpu_power: float
    total_memory_power: float
    node_power_details: list[NodePower]


class Nodes(Struct, frozen=True):
    """Connected nodes and the services on them."""

    connected_nodes: int
    model_node_counts: dict[str, int]
    available_services: list[ServiceInfo]
    total_services: int
    service_node_counts: dict[str, int]
    compute_power: ComputePower


class JobCounts(Struct, frozen=True):
    """Jobs since the start of the program: accepted = completed + failed + cancelled + live.

    `queued` and `in_flight` are the dispatcher's view of the live ones, read a moment apart.
    """

    accepted: int
    completed: int
    failed: int
    cancelled: int
    live: int
    queued: int
    in_flight: int


class Queue(Struct, frozen=True):
    """Jobs that wait for a node."""

    depth: int
    oldest_wait_ms: int


class Percentiles(Struct, frozen=True):
    """A latency since the start of the program; null before the first sample."""

    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


class ProcessHealth(Struct, frozen=True):
    """One process. `heartbeat_age_ms` is null before its first heartbeat."""

    role: str
    index: int
    pid: int
    fresh: bool
    ready: bool
    restarts: int
    heartbeat_age_ms: int | None
    loop_lag_max_ms: float
    slow_paths_total: int


class StatsCounters(Struct, frozen=True):
    """What this stats process did; starts anew with it."""

    snapshots_total: int = 0
    snapshot_writes_failed_total: int = 0
    torn_rows_total: int = 0


class Counters(Struct, frozen=True):
    """Every counter declared in the memory layout; those of gateways are summed."""

    gateways: dict[str, int]
    dispatcher: dict[str, int]
    stats: StatsCounters


class CatalogueState(Struct, frozen=True):
    """Where the services come from. `fail_count` failures in a row; times are null for never."""

    source: Literal["hub", "file", "none"]
    fetched_at_ms: int | None = None
    last_success_at_ms: int | None = None
    fail_count: int = 0
    last_error: str = ""
    fetches_total: int = 0
    failures_total: int = 0


class DifferingNode(Struct, frozen=True):
    """A node whose in-flight count is not what its gateway holds, for so long that it is wrong."""

    node_id: str
    in_flight: int
    held: int
    seconds: float


class RightedNode(Struct, frozen=True):
    """A node on which slots were freed that no attempt held."""

    node_id: str
    slots: int


class Audit(Struct, frozen=True):
    """Load recounted: all is well while `differing` is empty and the totals don't grow.

    `differing` and `righted` name the worst 20 of the nodes that are known.
    """

    differing_nodes: int
    differing: list[DifferingNode]
    slots_freed_total: int
    rows_rescored_total: int
    attempts_dropped_total: int
    jobs_overdue_total: int
    oldest_job_ms: int
    righted: list[RightedNode]


class Scheduler(Struct, frozen=True):
    """The scheduler itself. `generation` counts the dispatchers started.

    `audit` says whether the counts of load are true.
    """

    version: str
    uptime_s: float
    generation: int
    jobs: JobCounts
    queue: Queue
    counters: Counters
    latency: dict[str, Percentiles]
    processes: list[ProcessHealth]
    catalogue: CatalogueState
    audit: Audit


class Origin(Struct, frozen=True):
    """Which snapshot this is: `sequence` grows by one within a `source`."""

    generated_at_ms: int
    sequence: int
    source: str


class Snapshot(Struct, frozen=True):
    """The whole."""

    web_clients: WebClients
    nodes: Nodes
    scheduler: Scheduler
    snapshot: Origin
