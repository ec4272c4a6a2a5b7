"""Makes a snapshot of a reading: no clock, no I/O."""

import msgspec
import numpy as np

from scheduler import __version__
from scheduler.config import LoadBalancerSettings
from scheduler.memory.histogram import percentile_ns
from scheduler.stats.audit import make_audit
from scheduler.stats.languages import language_usage, top_languages
from scheduler.stats.power import compute_power
from scheduler.stats.reading import Int64s, Reading, SessionRows, Words
from scheduler.stats.schema import (
    CatalogueState,
    Counters,
    JobCounts,
    Nodes,
    Origin,
    Percentiles,
    ProcessHealth,
    Queue,
    Scheduler,
    ServiceInfo,
    Snapshot,
    StatsCounters,
    WebClients,
)

_encoder = msgspec.json.Encoder()


def encode(snapshot: Snapshot) -> bytes:
    """Return the bytes that are published."""
    return _encoder.encode(snapshot)


def make_snapshot(
    reading: Reading,
    *,
    processes: list[ProcessHealth],
    services: list[ServiceInfo],
    catalogue: CatalogueState,
    stats: StatsCounters,
    limits: LoadBalancerSettings,
    origin: Origin,
    now_ns: int,
) -> Snapshot:
    """Return the snapshot; `now_ns` is the monotonic time of the reading."""
    return Snapshot(
        web_clients=_web_clients(reading.sessions),
        nodes=_nodes(reading, services, limits),
        scheduler=Scheduler(
            version=__version__,
            uptime_s=round((now_ns - reading.started_ns) / 1e9, 3),
            generation=reading.generation,
            jobs=_jobs(reading),
            queue=_queue(reading, now_ns),
            counters=Counters(reading.gateways, reading.dispatcher, stats),
            latency={name: _percentiles(counts) for name, counts in reading.latency.items()},
            processes=processes,
            catalogue=catalogue,
            audit=make_audit(reading, now_ns),
        ),
        snapshot=origin,
    )


def _web_clients(sessions: SessionRows) -> WebClients:
    usage = language_usage(sessions.source, sessions.target, sessions.two_way)
    return WebClients(
        active_users=len(sessions.source),
        top_languages=top_languages(usage),
        language_usage=usage,
    )


def _nodes(reading: Reading, services: list[ServiceInfo], limits: LoadBalancerSettings) -> Nodes:
    nodes = reading.nodes
    return Nodes(
        connected_nodes=len(nodes.node_id),
        model_node_counts=_count_services(nodes.ready, reading.service_ids),
        available_services=services,
        total_services=len(services),
        service_node_counts=_count_services(nodes.installed, reading.service_ids),
        compute_power=compute_power(nodes, limits),
    )


def _count_services(words: Words, service_ids: list[str]) -> dict[str, int]:
    """Count the nodes that have each service's bit; services that none has are left out."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    counts = bits.sum(axis=0, dtype=np.int64).tolist()
    return {
        service_id: count
        for service_id, count in zip(service_ids, counts, strict=True)
        if service_id and count
    }


def _jobs(reading: Reading) -> JobCounts:
    return JobCounts(
        accepted=reading.gateways["jobs_accepted_total"],
        completed=reading.gateways["jobs_completed_total"],
        failed=reading.gateways["jobs_failed_total"],
        cancelled=reading.gateways["jobs_cancelled_total"],
        live=reading.gateways["jobs_live"],
        queued=reading.dispatcher["queued"],
        in_flight=reading.dispatcher["in_flight"],
    )


def _queue(reading: Reading, now_ns: int) -> Queue:
    oldest_ns = reading.oldest_queued_ns
    wait_ms = max(0, now_ns - oldest_ns) // 1_000_000 if oldest_ns else 0
    return Queue(depth=reading.dispatcher["queued"], oldest_wait_ms=wait_ms)


def _percentiles(counts: Int64s) -> Percentiles:
    total = int(counts.sum())
    if total == 0:
        return Percentiles(0, None, None, None, None)
    return Percentiles(
        total, *(round(percentile_ns(counts, q) / 1e6, 3) for q in (0.5, 0.9, 0.99, 0.999))
    )
