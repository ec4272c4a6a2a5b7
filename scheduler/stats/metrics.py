"""Every metric, declared once: Prometheus text, JSON and docs/metrics.md derive from `METRICS`.

What the memory layout declares is taken from there, name, unit and help. What is worked out from
several columns, and what the stats process knows by itself, stands in the tables below.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from scheduler.memory import layout
from scheduler.memory.layout import Block, Column
from scheduler.stats import metric_readers as read
from scheduler.stats.metric_readers import MetricSources, Samples

PREFIX = "scheduler_"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name and what stands behind it. `origin` says where the figure comes from."""

    name: str
    kind: Kind
    help: str
    read: Callable[[MetricSources], Samples]
    unit: str = ""
    labels: tuple[str, ...] = ()
    origin: str = "derived"


def _of_block(block: Block, prefix: str, labels: tuple[str, ...]) -> Iterator[Metric]:
    for column in block.columns:
        if column.unit == "ns monotonic":
            continue  # a point in time of this machine's own clock; its age is declared below
        name, kind, unit = _shape(column)
        yield Metric(
            f"{PREFIX}{prefix}{name}",
            kind,
            column.help,
            read.column_reader(block, column, labels),
            unit,
            labels,
            f"`{block.name}.{column.name}`",
        )


def _shape(column: Column) -> tuple[str, Kind, str]:
    if column.width == layout.HISTOGRAM_BUCKETS:
        return f"{column.name.removesuffix('_ns')}_latency_seconds", "histogram", "seconds"
    if column.unit == "ns":
        return f"{column.name.removesuffix('_ns')}_seconds", "gauge", "seconds"
    if column.unit == "total":
        return f"{column.name.removesuffix('_total')}_total", "counter", ""
    return column.name, "gauge", column.unit


_GATEWAY = ("gateway",)
_PROCESS = ("role", "index")

FROM_LAYOUT = (
    *_of_block(layout.GATEWAY_COUNTERS, "gateway_", _GATEWAY),
    *_of_block(layout.DISPATCHER_COUNTERS, "dispatcher_", ()),
    *_of_block(layout.GATEWAY_LATENCY, "", _GATEWAY),
    *(
        Metric(
            f"{PREFIX}{column.name}",
            "counter",
            f"{column.help}, by code; a node's own codes are told as other",
            read.by_code_reader(column),
            labels=("code",),
            origin=f"`{layout.GATEWAY_CODES.name}.{column.name}`",
        )
        for column in layout.GATEWAY_CODES.columns
    ),
    Metric(
        f"{PREFIX}jobs_cancelled_by_reason_total",
        "counter",
        "jobs given up, by what ended their session",
        read.cancelled_by_reason,
        labels=("reason",),
        origin=f"`{layout.CANCELLATIONS.name}.jobs_cancelled_by_reason_total`",
    ),
    *(
        Metric(
            f"{PREFIX}model_not_available_{column.name}",
            "counter",
            column.help,
            read.by_service_reader(column),
            labels=("service",),
            origin=f"`{layout.SERVICES.name}.{column.name}`",
        )
        for column in layout.SERVICES.columns
        if column.unit == "total"
    ),
    Metric(
        f"{PREFIX}model_not_available_by_reason_total",
        "counter",
        "MODEL_NOT_AVAILABLE received, by the reason that nodes give in error.details.reason",
        read.by_reason_reader("model_missing_by_reason_total"),
        labels=("reason",),
        origin=f"`{layout.STORMS.name}.model_missing_by_reason_total`",
    ),
    *(
        Metric(
            f"{PREFIX}model_not_available_{column.name.removeprefix('model_')}",
            "counter",
            f"{column.help}, by the reason that nodes give",
            read.by_reason_reader(column.name),
            labels=("reason",),
            origin=f"`{layout.STORMS.name}.{column.name}`",
        )
        for column in layout.STORMS.columns[1:]
    ),
    *(
        Metric(
            f"{PREFIX}node_{column.name}",
            "counter",
            f"{column.help}; the {read.NODES_NAMED_MAX} nodes with most, all others as other",
            read.by_node_reader(column, whole),
            labels=("node",),
            origin=f"`{layout.NODES.name}.{column.name}`",
        )
        for column, whole in read.NODE_TOTALS
    ),
    Metric(
        f"{PREFIX}excluded_total",
        "counter",
        "nodes that were out of the question when a job ended for want of one, or of room to wait",
        read.excluded,
        labels=("reason",),
        origin=f"`{layout.EXCLUSIONS.name}.excluded_total`",
    ),
    *_of_block(layout.PROCESSES, "process_", _PROCESS),
    *_of_block(layout.PULSES, "process_", _PROCESS),
)

DERIVED = (
    Metric(
        f"{PREFIX}info", "gauge", "1, with the version as a label", read.info, labels=("version",)
    ),
    Metric(
        f"{PREFIX}start_time_seconds",
        "gauge",
        "start of the program, since the epoch",
        read.start_time_seconds,
        "seconds",
    ),
    Metric(
        f"{PREFIX}dispatcher_generation", "gauge", "dispatchers started so far", read.generation
    ),
    Metric(
        f"{PREFIX}dispatcher_oldest_queued_seconds",
        "gauge",
        "wait so far of the job that waits longest for a node",
        read.oldest_queued_seconds,
        "seconds",
    ),
    Metric(
        f"{PREFIX}gateway_oldest_job_seconds",
        "gauge",
        "age of the oldest job without an outcome",
        read.oldest_job_seconds,
        "seconds",
        _GATEWAY,
    ),
    Metric(
        f"{PREFIX}audit_differing_nodes",
        "gauge",
        "nodes whose in-flight count has not been what their gateway holds for over 3 s",
        read.audit_differing_nodes,
        "nodes",
    ),
    Metric(
        f"{PREFIX}nodes",
        "gauge",
        "rows of the node table by status",
        read.nodes,
        "nodes",
        ("status",),
    ),
    Metric(
        f"{PREFIX}ready_slots", "gauge", "slots of nodes that get jobs", read.ready_slots, "jobs"
    ),
    Metric(
        f"{PREFIX}service_nodes_ready",
        "gauge",
        "nodes that get jobs and have the service ready",
        read.service_nodes_ready,
        "nodes",
        ("service",),
    ),
    Metric(
        f"{PREFIX}process_up",
        "gauge",
        "whether the process runs and its main loop turns",
        read.process_up,
        "bool",
        _PROCESS,
    ),
    Metric(
        f"{PREFIX}process_heartbeat_age_seconds",
        "gauge",
        "since the process's main loop last showed life",
        read.heartbeat_age_seconds,
        "seconds",
        _PROCESS,
    ),
    Metric(
        f"{PREFIX}process_resident_memory_bytes",
        "gauge",
        "physical memory, shared memory that the process has touched included",
        read.resident_memory_bytes,
        "bytes",
        _PROCESS,
    ),
    Metric(
        f"{PREFIX}process_cpu_seconds_total",
        "counter",
        "processor time of the process; starts anew with it",
        read.cpu_seconds,
        "seconds",
        _PROCESS,
    ),
)

_STATS = "the stats process; starts anew with it"

OWN = (
    Metric(
        f"{PREFIX}stats_requests_total",
        "counter",
        "HTTP requests answered on the operations port",
        read.requests,
        labels=("path", "status"),
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_request_seconds",
        "histogram",
        "time to answer, event streams left out",
        read.request_seconds,
        "seconds",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_stale_total",
        "counter",
        "requests for /api/v1/stats answered with a snapshot that missed its refreshes",
        read.stale_answers,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_connections",
        "gauge",
        "connections of operators now open",
        read.http_connections,
        "sockets",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_connections_refused_total",
        "counter",
        "connections of operators beyond the bound of one address or of all",
        read.http_connections_refused,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_bad_requests_total",
        "counter",
        "requests on the operators' port that are no HTTP",
        read.http_bad_requests,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_slow_readers_cut_total",
        "counter",
        "connections of operators cut for not reading what they asked for",
        read.http_slow_readers,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_subscribers",
        "gauge",
        "open event streams",
        read.subscribers,
        "streams",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_snapshots_total",
        "counter",
        "snapshots published",
        read.snapshots,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_snapshot_age_seconds",
        "gauge",
        "age of the snapshot that is served",
        read.snapshot_age_seconds,
        "seconds",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_snapshot_writes_failed_total",
        "counter",
        "snapshots that could not be written to stats.snapshot_path",
        read.snapshot_writes_failed,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_torn_rows_total",
        "counter",
        "node rows shown as in the snapshot before, since they were being written",
        read.torn_rows,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}catalogue_services",
        "gauge",
        "services in the catalogue",
        read.catalogue_services,
        "services",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}catalogue_age_seconds",
        "gauge",
        "since the model hub last answered well; none before it did",
        read.catalogue_age_seconds,
        "seconds",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}catalogue_failing",
        "gauge",
        "fetches from the model hub that failed since the last good one",
        read.catalogue_failing,
        "fetches",
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}catalogue_fetches_total",
        "counter",
        "fetches from the model hub",
        read.catalogue_fetches,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}catalogue_failures_total",
        "counter",
        "fetches from the model hub that failed",
        read.catalogue_failures,
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_commands_total",
        "counter",
        "commands sent to the dispatcher",
        read.commands,
        labels=("command",),
        origin=_STATS,
    ),
    Metric(
        f"{PREFIX}stats_commands_refused_total",
        "counter",
        "commands refused: no admin token is set, too many wrong ones, none shown, a wrong one",
        read.commands_refused,
        labels=("reason",),
        origin=_STATS,
    ),
)

METRICS: tuple[Metric, ...] = (*FROM_LAYOUT, *DERIVED, *OWN)
