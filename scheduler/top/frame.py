"""What is shown: the difference between two looks, as figures. No terminal, no clock.

The structs are also what `top --once --json` prints.
"""

from collections.abc import Iterator
from enum import Enum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scheduler import __version__
from scheduler.memory.histogram import percentile_ns
from scheduler.protocol.status import Status
from scheduler.stats.audit import make_audit
from scheduler.stats.reading import Int64s, NodeColumns, Words
from scheduler.stats.schema import Audit, ProcessHealth
from scheduler.top.reading import Sample

Indices = NDArray[np.intp]


class Rates(Struct, frozen=True):
    """Per second, within the interval; each is named after its counter in the memory layout."""

    jobs_accepted_per_s: float
    jobs_completed_per_s: float
    jobs_failed_per_s: float
    jobs_cancelled_per_s: float
    jobs_refused_per_s: float
    messages_received_per_s: float
    messages_sent_per_s: float
    bytes_received_per_s: float
    bytes_sent_per_s: float


class Latency(Struct, frozen=True):
    """Of the jobs within the interval; percentiles are null where there was none."""

    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class ClassQueue(Struct, frozen=True):
    """Jobs that wait for a node with all these services."""

    services: list[str]
    queued: int


class GatewayLine(Struct, frozen=True):
    """One gateway."""

    index: int
    connections: int
    sessions: int
    nodes: int
    jobs_live: int
    arena_used_bytes: int
    rates: Rates


class NodeLine(Struct, frozen=True):
    """One node. `gateway` is null while it is offline; `services_ready` counts them."""

    node_id: str
    name: str
    status: str
    in_flight: int
    capacity: int
    external_jobs: int
    gateway: int | None
    public: bool
    cpu_percent: float
    gpu_percent: float
    gpu_memory_percent: float
    memory_percent: float
    heartbeat_age_ms: int | None
    services_ready: int


class Frame(Struct, frozen=True):
    """All but the nodes, of which there may be thousands: those are made as they are shown.

    `interval_s` is what rates and latencies are about. `slots` are those of ready nodes.
    """

    version: str
    epoch: str
    at_ms: int
    uptime_s: float
    interval_s: float
    generation: int
    processes: list[ProcessHealth]
    rates: Rates
    latency: dict[str, Latency]
    jobs_live: int
    in_flight: int
    queued: int
    oldest_wait_ms: int
    queues: list[ClassQueue]
    gateways: list[GatewayLine]
    node_counts: dict[str, int]
    slots: int
    audit: Audit


class Order(Enum):
    """How nodes are sorted."""

    LOAD = "load"
    NAME = "name"
    STATUS = "status"

    @property
    def next(self) -> "Order":
        """The order after this one, round robin."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


def make_frame(before: Sample | None, now: Sample) -> Frame:
    """Return the figures of the interval from `before`; None stands for the program's start.

    Both samples are of one run of the scheduler.
    """
    assert before is None or before.epoch == now.epoch
    reading = now.reading
    since_ns = reading.started_ns if before is None else before.now_ns
    seconds = max(1, now.now_ns - since_ns) / 1e9
    rates = _rates(before, now, seconds)
    status = reading.table["status"]
    oldest_ns = reading.oldest_queued_ns
    return Frame(
        version=__version__,
        epoch=now.epoch,
        at_ms=now.now_ms,
        uptime_s=round((now.now_ns - reading.started_ns) / 1e9, 3),
        interval_s=round(seconds, 3),
        generation=reading.generation,
        processes=now.processes,
        rates=Rates(*(round(float(values.sum()), 3) for values in rates.values())),
        latency={
            name: _latency(counts if before is None else counts - before.reading.latency[name])
            for name, counts in reading.latency.items()
        },
        jobs_live=int(now.gateways["jobs_live"].sum()),
        in_flight=reading.dispatcher["in_flight"],
        queued=reading.dispatcher["queued"],
        oldest_wait_ms=max(0, now.now_ns - oldest_ns) // 1_000_000 if oldest_ns else 0,
        queues=sorted(_queues(now), key=lambda queue: -queue.queued),
        gateways=list(_gateways(now, rates)),
        node_counts={
            kind.wire: int((status == kind).sum()) for kind in Status if kind is not Status.FREE
        },
        slots=int(reading.table["capacity"][status == Status.READY].sum()),
        audit=make_audit(reading, now.now_ns),
    )


def _rates(before: Sample | None, now: Sample, seconds: float) -> dict[str, NDArray[np.float64]]:
    """Return the rates by the fields of `Rates`, each for all gateways."""
    rates = {}
    for field in Rates.__struct_fields__:
        column = f"{field.removesuffix('_per_s')}_total"
        counted = now.gateways[column] - (0 if before is None else before.gateways[column])
        rates[field] = np.maximum(counted, 0) / seconds
    return rates


def _latency(counts: Int64s) -> Latency:
    counts = np.maximum(counts, 0)
    total = int(counts.sum())
    if not total:
        return Latency(0, None, None, None)
    return Latency(total, *(round(percentile_ns(counts, q) / 1e6, 3) for q in (0.5, 0.9, 0.99)))


def _queues(now: Sample) -> Iterator[ClassQueue]:
    names = now.reading.service_ids
    for words, queued in zip(now.class_services, now.class_queued.tolist(), strict=True):
        if queued:
            bits = np.flatnonzero(_bits(words))
            yield ClassQueue([names[bit] for bit in bits if names[bit]], queued)


def _gateways(now: Sample, rates: dict[str, NDArray[np.float64]]) -> Iterator[GatewayLine]:
    for index in range(len(now.gateways["jobs_live"])):
        yield GatewayLine(
            index=index,
            connections=int(now.gateways["connections"][index]),
            sessions=int(now.gateways["sessions"][index]),
            nodes=int(now.gateways["nodes"][index]),
            jobs_live=int(now.gateways["jobs_live"][index]),
            arena_used_bytes=int(now.gateways["arena_used_bytes"][index]),
            rates=Rates(*(round(float(values[index]), 3) for values in rates.values())),
        )


def sorted_rows(table: NodeColumns, order: Order) -> Indices:
    """Return the rows of the node table in that order; equals stay sorted by name."""
    by_name = np.lexsort((table["node_id"], table["name"]))
    if order is Order.NAME:
        return by_name
    if order is Order.STATUS:
        keys = table["status"]
    else:
        keys = -(table["in_flight"] / np.maximum(table["capacity"], 1))
    return by_name[np.argsort(keys[by_name], kind="stable")]


def node_lines(table: NodeColumns, rows: Indices, now_ns: int) -> list[NodeLine]:
    """Return those rows of the node table; `now_ns` is the monotonic time of the sample."""
    return [_node_line(table, row, now_ns) for row in rows.tolist()]


def _node_line(table: NodeColumns, row: int, now_ns: int) -> NodeLine:
    heartbeat_ns = int(table["heartbeat_ns"][row])
    gateway = int(table["gateway"][row])
    return NodeLine(
        node_id=table["node_id"][row].decode(errors="replace"),
        name=table["name"][row].decode(errors="replace"),
        status=Status(table["status"][row]).wire,
        in_flight=int(table["in_flight"][row]),
        capacity=int(table["capacity"][row]),
        external_jobs=int(table["external_jobs"][row]),
        gateway=gateway if gateway >= 0 else None,
        public=bool(table["public"][row]),
        cpu_percent=float(table["cpu_percent"][row]),
        gpu_percent=float(table["gpu_percent"][row]),
        gpu_memory_percent=float(table["gpu_memory_percent"][row]),
        memory_percent=float(table["memory_percent"][row]),
        heartbeat_age_ms=max(0, now_ns - heartbeat_ns) // 1_000_000 if heartbeat_ns else None,
        services_ready=int(_bits(table["ready"][row]).sum()),
    )


def _bits(words: Words) -> NDArray[np.uint8]:
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little")
