"""How the figures behind the metrics are read: live from memory, none kept in between."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler import __version__
from scheduler.memory.layout import (
    CANCELLATIONS,
    DISPATCHER_COUNTERS,
    EXCLUSIONS,
    GATEWAY_CODES,
    GATEWAY_COUNTERS,
    HISTOGRAM_BUCKETS,
    NODES,
    SERVICES,
    SERVICES_MAX,
    STORMS,
    Block,
    Column,
)
from scheduler.memory.views import Views
from scheduler.protocol.cancellations import CANCEL_LABELS
from scheduler.protocol.codes import CODE_LABELS
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.missing import MISSING_REASONS
from scheduler.protocol.status import Status
from scheduler.stats.admin import REFUSAL_REASONS, AdminGate
from scheduler.stats.audit import DIFFERING_LOOKS
from scheduler.stats.catalog import ServiceCatalogue
from scheduler.stats.commands import NodeCommands
from scheduler.stats.events import EventStream
from scheduler.stats.health import HealthReader
from scheduler.stats.meter import RequestMeter
from scheduler.stats.proc import Usage, read_usage
from scheduler.stats.publisher import Publisher
from scheduler.stats.reading import Int64s
from scheduler.stats.schema import ProcessHealth

OTHER = "other"
"""A label's value for all that has none of its own."""

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of their declaration."""


class Sample(NamedTuple):
    """One figure."""

    labels: Labels
    value: float


class Distribution(NamedTuple):
    """One histogram; `counts` has shape (HISTOGRAM_BUCKETS,)."""

    labels: Labels
    counts: Int64s


Samples = Iterable[Sample | Distribution]


@dataclass(frozen=True, slots=True)
class MetricSources:
    """What metrics are read from; `clock_ns` is monotonic."""

    views: Views
    health: HealthReader
    catalogue: ServiceCatalogue
    publisher: Publisher
    meter: RequestMeter
    stream: EventStream
    gate: AdminGate
    commands: NodeCommands
    clock_ns: Callable[[], int]

    def processes(self) -> Iterator[tuple[Labels, ProcessHealth]]:
        """Yield each process with its labels."""
        for process in self.health.read(self.clock_ns()):
            yield (process.role, str(process.index)), process


def column_reader(
    block: Block, column: Column, labels: tuple[str, ...]
) -> Callable[[MetricSources], Samples]:
    """Return what reads all rows of a column of the layout."""
    scale = 1e-9 if column.unit == "ns" else 1

    def rows(sources: MetricSources) -> Samples:
        values = sources.views.column(block.name, column.name)
        names = _row_labels(sources, block, labels)
        if column.width == HISTOGRAM_BUCKETS:
            return [Distribution(*row) for row in zip(names, values.copy(), strict=True)]
        return [
            Sample(name, value * scale) for name, value in zip(names, values.tolist(), strict=True)
        ]

    return rows


def by_code_reader(column: Column) -> Callable[[MetricSources], Samples]:
    """Return what reads a column of one counter per error code, summed over the gateways."""

    def codes(sources: MetricSources) -> Samples:
        return labelled(code_totals(sources.views, column.name))

    return codes


def code_totals(views: Views, name: str) -> dict[str, int]:
    """Return a column of GATEWAY_CODES by code, summed over the gateways."""
    totals = views.column(GATEWAY_CODES.name, name).sum(axis=0).tolist()
    return dict(zip(CODE_LABELS, totals, strict=True))


def cancelled_by_reason(sources: MetricSources) -> Samples:
    """Return the cancelled jobs by reason, summed over the gateways."""
    column = sources.views.column(CANCELLATIONS.name, "jobs_cancelled_by_reason_total")
    return labelled(dict(zip(CANCEL_LABELS, column.sum(axis=0).tolist(), strict=True)))


def by_service_reader(column: Column) -> Callable[[MetricSources], Samples]:
    """Return what reads a counter of the `services` block, for services that have a bit.

    What the dispatcher received without a service that it knows is told as "other".
    """

    def services(sources: MetricSources) -> Samples:
        totals = sources.views.column(SERVICES.name, column.name).tolist()
        for name, total in zip(service_names(sources), totals, strict=True):
            if name:
                yield Sample((name,), total)
        if column.name == "missing_total":
            received = sources.views.column(DISPATCHER_COUNTERS.name, "model_not_available_total")
            yield Sample((OTHER,), max(0, int(received[0]) - sum(totals)))

    return services


NODES_NAMED_MAX = 20
"""Nodes that have a label of their own in a metric; there may be thousands."""

# Counters of the node table, with the counter of the dispatcher that has their sum over all nodes,
# those included that have left.
NODE_TOTALS = tuple(
    (next(column for column in NODES.columns if column.name == name), whole)
    for name, whole in (
        ("model_missing_total", "model_not_available_total"),
        ("model_rate_limited_total", "models_rate_limited_total"),
        ("model_marked_total", "models_marked_total"),
        ("audit_freed_total", "audit_freed_total"),
    )
)


def by_node_reader(column: Column, whole: str) -> Callable[[MetricSources], Samples]:
    """Return what reads a counter of the node table; `whole` is the dispatcher's sum of it."""

    def by_node(sources: MetricSources) -> Samples:
        column_of = sources.views.column
        totals = column_of(NODES.name, column.name) * (
            column_of(NODES.name, "status") != Status.FREE
        )
        most = np.argsort(-totals, kind="stable")[:NODES_NAMED_MAX]
        rest = int(column_of(DISPATCHER_COUNTERS.name, whole)[0])
        for slot in most[totals[most] > 0].tolist():
            rest -= int(totals[slot])
            node_id: bytes = column_of(NODES.name, "node_id")[slot]
            yield Sample((node_id.decode(errors="replace"),), int(totals[slot]))
        yield Sample((OTHER,), max(0, rest))

    return by_node


def by_reason_reader(name: str) -> Callable[[MetricSources], Samples]:
    """Return what reads a column of STORMS, one counter per reason of MODEL_NOT_AVAILABLE."""

    def reasons(sources: MetricSources) -> Samples:
        totals = sources.views.column(STORMS.name, name)[0].tolist()
        return labelled(dict(zip(MISSING_REASONS, totals, strict=True)))

    return reasons


def excluded(sources: MetricSources) -> Samples:
    """Return the exclusions by reason."""
    return labelled(exclusion_totals(sources.views))


def exclusion_totals(views: Views) -> dict[str, int]:
    """Return the exclusions by reason."""
    totals = views.column(EXCLUSIONS.name, "excluded_total")[0].tolist()
    return {reason.value: total for reason, total in zip(Exclusion, totals, strict=True)}


def labelled(totals: Mapping[str, int]) -> Samples:
    """Return a sample for each total, with its name as the only label."""
    return [Sample((name,), total) for name, total in totals.items()]


def _row_labels(sources: MetricSources, block: Block, labels: tuple[str, ...]) -> Sequence[Labels]:
    if block.rows == "processes":
        return sources.health.labels()
    count = len(sources.views.column(block.name, block.columns[0].name))
    return [(str(row),) if labels else () for row in range(count)]


# --- worked out from shared memory ---------------------------------------------------------


def info(_: MetricSources) -> Samples:
    """Return the version."""
    yield Sample((__version__,), 1)


def start_time_seconds(sources: MetricSources) -> Samples:
    """Return the start of the program."""
    yield Sample((), _header(sources, "started_ms") / 1_000)


def generation(sources: MetricSources) -> Samples:
    """Return the number of dispatchers so far."""
    yield Sample((), _header(sources, "generation"))


def _header(sources: MetricSources, name: str) -> int:
    return int(sources.views.column("header", name)[0])


def oldest_queued_seconds(sources: MetricSources) -> Samples:
    """Return the wait of the oldest job that waits."""
    since_ns = int(sources.views.column("dispatcher_counters", "oldest_queued_ns")[0])
    yield Sample((), max(0, sources.clock_ns() - since_ns) / 1e9 if since_ns else 0)


def oldest_job_seconds(sources: MetricSources) -> Samples:
    """Return the age of each gateway's oldest job."""
    oldest_ns = sources.views.column(GATEWAY_COUNTERS.name, "oldest_job_ns").tolist()
    for gateway, since_ns in enumerate(oldest_ns):
        age_ns = max(0, sources.clock_ns() - since_ns) if since_ns else 0
        yield Sample((str(gateway),), age_ns / 1e9)


def audit_differing_nodes(sources: MetricSources) -> Samples:
    """Return the number of nodes with a wrong count."""
    looks = sources.views.column(NODES.name, "audit_looks")
    yield Sample((), int(np.count_nonzero(looks >= DIFFERING_LOOKS)))


def nodes(sources: MetricSources) -> Samples:
    """Return the number of nodes in each status."""
    counts = np.bincount(sources.views.column("nodes", "status"), minlength=len(Status))
    for status in Status:
        if status != Status.FREE:
            yield Sample((status.wire,), int(counts[status]))


def ready_slots(sources: MetricSources) -> Samples:
    """Return the slots of the nodes that get jobs."""
    column = sources.views.column
    ready = column("nodes", "status") == Status.READY
    yield Sample((), int(column("nodes", "capacity")[ready].sum()))


def service_nodes_ready(sources: MetricSources) -> Samples:
    """Return the number of nodes for each service that has a bit."""
    column = sources.views.column
    words = column("nodes", "ready")[column("nodes", "status") == Status.READY]
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    counts = bits.sum(axis=0, dtype=np.int64).tolist() if len(words) else [0] * SERVICES_MAX
    for name, count in zip(service_names(sources), counts, strict=True):
        if name:
            yield Sample((name,), count)


def service_names(sources: MetricSources) -> list[str]:
    """Return the service of each bit, "" where it stands for none."""
    names: NDArray[Any] = sources.views.column("services", "service_id")
    return [name.decode(errors="replace") for name in names.tolist()]


# --- processes -----------------------------------------------------------------------------


def process_up(sources: MetricSources) -> Samples:
    """Return which processes show life."""
    for labels, process in sources.processes():
        yield Sample(labels, process.fresh)


def heartbeat_age_seconds(sources: MetricSources) -> Samples:
    """Return how long ago each process showed life, if it ever did."""
    for labels, process in sources.processes():
        if process.heartbeat_age_ms is not None:
            yield Sample(labels, process.heartbeat_age_ms / 1_000)


def resident_memory_bytes(sources: MetricSources) -> Samples:
    """Return the memory of each process that runs."""
    for labels, usage in _usages(sources):
        yield Sample(labels, usage.resident_bytes)


def cpu_seconds(sources: MetricSources) -> Samples:
    """Return the processor time of each process that runs."""
    for labels, usage in _usages(sources):
        yield Sample(labels, usage.cpu_seconds)


def _usages(sources: MetricSources) -> Iterator[tuple[Labels, Usage]]:
    for labels, process in sources.processes():
        usage = read_usage(process.pid)
        if usage is not None:
            yield labels, usage


# --- the stats process's own ---------------------------------------------------------------


def requests(sources: MetricSources) -> Samples:
    """Return the requests by path and status."""
    for (path, status), count in sorted(sources.meter.requests.items()):
        yield Sample((path, str(status)), count)


def request_seconds(sources: MetricSources) -> Samples:
    """Return how long answers took."""
    yield Distribution((), sources.meter.durations.copy())


def stale_answers(sources: MetricSources) -> Samples:
    """Return how often an old snapshot was all there was."""
    yield Sample((), sources.meter.stale_total)


def http_connections(sources: MetricSources) -> Samples:
    """Return the number of operators' connections."""
    yield Sample((), sources.meter.connections)


def http_connections_refused(sources: MetricSources) -> Samples:
    """Return how many connections there was no room for."""
    yield Sample((), sources.meter.connections_refused_total)


def http_bad_requests(sources: MetricSources) -> Samples:
    """Return how often something came that is no HTTP."""
    yield Sample((), sources.meter.bad_requests_total)


def http_slow_readers(sources: MetricSources) -> Samples:
    """Return how many connections were cut because nobody read at their end."""
    yield Sample((), sources.meter.slow_readers_cut_total)


def subscribers(sources: MetricSources) -> Samples:
    """Return the number of event streams."""
    yield Sample((), sources.stream.subscribers)


def snapshots(sources: MetricSources) -> Samples:
    """Return the number of snapshots."""
    yield Sample((), sources.publisher.counters().snapshots_total)


def snapshot_age_seconds(sources: MetricSources) -> Samples:
    """Return the age of the last snapshot."""
    yield Sample((), sources.publisher.age_ns() / 1e9)


def snapshot_writes_failed(sources: MetricSources) -> Samples:
    """Return the number of failed writes."""
    yield Sample((), sources.publisher.counters().snapshot_writes_failed_total)


def torn_rows(sources: MetricSources) -> Samples:
    """Return the number of torn rows."""
    yield Sample((), sources.publisher.counters().torn_rows_total)


def catalogue_services(sources: MetricSources) -> Samples:
    """Return the number of services in the catalogue."""
    yield Sample((), len(sources.catalogue.services()))


def catalogue_age_seconds(sources: MetricSources) -> Samples:
    """Return the age of the hub's last good answer, if there was one."""
    success_ms = sources.catalogue.state().last_success_at_ms
    if success_ms is not None:
        yield Sample((), max(0.0, time.time() - success_ms / 1_000))


def catalogue_failing(sources: MetricSources) -> Samples:
    """Return the failures since the last success."""
    yield Sample((), sources.catalogue.state().fail_count)


def catalogue_fetches(sources: MetricSources) -> Samples:
    """Return the number of fetches."""
    yield Sample((), sources.catalogue.state().fetches_total)


def catalogue_failures(sources: MetricSources) -> Samples:
    """Return the number of fetches that failed."""
    yield Sample((), sources.catalogue.state().failures_total)


def commands(sources: MetricSources) -> Samples:
    """Return the commands sent to the dispatcher."""
    return labelled({name: sources.commands.sent[name] for name in ("drain", "resume")})


def commands_refused(sources: MetricSources) -> Samples:
    """Return the commands refused for want of the token."""
    return labelled({reason: sources.gate.refused[reason] for reason in REFUSAL_REASONS})
