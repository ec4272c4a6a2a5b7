import json
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler import __version__
from scheduler.config import LoadBalancerSettings
from scheduler.memory.histogram import Histogram
from scheduler.memory.layout import DISPATCHER_COUNTERS, GATEWAY_COUNTERS, GATEWAY_LATENCY
from scheduler.protocol.status import Status
from scheduler.stats.reading import MemoryReader
from scheduler.stats.schema import (
    Artifact,
    CatalogueState,
    Origin,
    ProcessHealth,
    ServiceInfo,
    ServiceVariant,
    StatsCounters,
)
from scheduler.stats.snapshot import encode, make_snapshot
from tests.stats.world import STARTED_NS, World, make_world

NOW_NS = STARTED_NS + 90_500_000_000
LIMITS = LoadBalancerSettings(cpu_limit=90, gpu_limit=90, memory_limit=75)
SERVICE = ServiceInfo(
    "asr", "ASR", "1.0", [ServiceVariant("1.0", "linux-x64", Artifact("zip", "u", "ff", 9))]
)
PROCESS = ProcessHealth(
    role="dispatcher",
    index=0,
    pid=7,
    fresh=True,
    ready=True,
    restarts=1,
    heartbeat_age_ms=12,
    loop_lag_max_ms=1.25,
    slow_paths_total=4,
)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def snapshot(world: World, services: list[ServiceInfo] | None = None) -> dict[str, Any]:
    made = make_snapshot(
        MemoryReader(world.reader_views()).read(),
        processes=[PROCESS],
        services=services or [],
        catalogue=CatalogueState("hub", 2_000, 1_000, 1, "no", 9, 4),
        stats=StatsCounters(3, 1, 0),
        limits=LIMITS,
        origin=Origin(generated_at_ms=1_700_000_000_000, sequence=3, source="0123abcd-0"),
        now_ns=NOW_NS,
    )
    found: dict[str, Any] = json.loads(encode(made))
    return found


def test_an_empty_scheduler_has_every_field(world: World) -> None:
    silent = {"count": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "p999_ms": None}
    assert snapshot(world) == {
        "web_clients": {"active_users": 0, "top_languages": [], "language_usage": {}},
        "nodes": {
            "connected_nodes": 0,
            "model_node_counts": {},
            "available_services": [],
            "total_services": 0,
            "service_node_counts": {},
            "compute_power": {
                "total_cpu_power": 0.0,
                "total_gpu_power": 0.0,
                "total_memory_power": 0.0,
                "node_power_details": [],
            },
        },
        "scheduler": {
            "version": __version__,
            "uptime_s": 90.5,
            "generation": 0,
            "jobs": {
                "accepted": 0,
                "completed": 0,
                "failed": 0,
                "cancelled": 0,
                "live": 0,
                "queued": 0,
                "in_flight": 0,
            },
            "queue": {"depth": 0, "oldest_wait_ms": 0},
            "counters": {
                "gateways": {
                    column.name: 0
                    for column in GATEWAY_COUNTERS.columns
                    if column.name != "oldest_job_ns"
                },
                "dispatcher": {
                    column.name: 0
                    for column in DISPATCHER_COUNTERS.columns
                    if column.name != "oldest_queued_ns"
                },
                "stats": {
                    "snapshots_total": 3,
                    "snapshot_writes_failed_total": 1,
                    "torn_rows_total": 0,
                },
            },
            "latency": {
                column.name.removesuffix("_ns"): silent for column in GATEWAY_LATENCY.columns
            },
            "processes": [
                {
                    "role": "dispatcher",
                    "index": 0,
                    "pid": 7,
                    "fresh": True,
                    "ready": True,
                    "restarts": 1,
                    "heartbeat_age_ms": 12,
                    "loop_lag_max_ms": 1.25,
                    "slow_paths_total": 4,
                }
            ],
            "catalogue": {
                "source": "hub",
                "fetched_at_ms": 2_000,
                "last_success_at_ms": 1_000,
                "fail_count": 1,
                "last_error": "no",
                "fetches_total": 9,
                "failures_total": 4,
            },
            "audit": {
                "differing_nodes": 0,
                "differing": [],
                "slots_freed_total": 0,
                "rows_rescored_total": 0,
                "attempts_dropped_total": 0,
                "jobs_overdue_total": 0,
                "oldest_job_ms": 0,
                "righted": [],
            },
        },
        "snapshot": {
            "generated_at_ms": 1_700_000_000_000,
            "sequence": 3,
            "source": "0123abcd-0",
        },
    }


def test_sessions(world: World) -> None:
    world.open_session(0, "auto", "en")
    world.open_session(1, "zh", "en", two_way=True)
    world.open_session(4, "zh", "de")
    assert snapshot(world)["web_clients"] == {
        "active_users": 3,
        "top_languages": [
            {"language": "en", "count": 3},
            {"language": "zh", "count": 3},
            {"language": "de", "count": 1},
        ],
        "language_usage": {
            "auto": {"as_source": 1, "as_target": 0, "total": 1},
            "de": {"as_source": 0, "as_target": 1, "total": 1},
            "en": {"as_source": 1, "as_target": 2, "total": 3},
            "zh": {"as_source": 2, "as_target": 1, "total": 3},
        },
    }


def test_nodes(world: World) -> None:
    for name in ("asr", "nmt", *(f"filler-{i}" for i in range(68)), "tts", "unused"):
        world.add_service(name)
    world.put_node(
        0,
        "node-a",
        name=b"Desk",
        installed=("asr", "nmt", "tts"),
        ready=("asr", "tts"),
        cpu_cores=8.0,
        cpu_percent=40.0,
        memory_gb=32.0,
        memory_percent=50.0,
        gpu_memory_gb=24.0,
        gpu_percent=65.0,
    )
    world.put_node(1, "node-b", status=Status.REGISTERING, installed=("asr",), cpu_cores=2.0)
    world.put_node(2, "node-c", status=Status.OFFLINE, installed=("asr",), ready=("asr",))
    assert snapshot(world, [SERVICE])["nodes"] == {
        "connected_nodes": 2,
        "model_node_counts": {"asr": 1, "tts": 1},
        "available_services": [
            {
                "service_id": "asr",
                "name": "ASR",
                "latest_version": "1.0",
                "variants": [
                    {
                        "version": "1.0",
                        "platform": "linux-x64",
                        "artifact": {"type": "zip", "url": "u", "sha256": "ff", "size_bytes": 9},
                    }
                ],
            }
        ],
        "total_services": 1,
        "service_node_counts": {"asr": 2, "nmt": 1, "tts": 1},
        "compute_power": {
            "total_cpu_power": 5.8,
            "total_gpu_power": 6.0,
            "total_memory_power": 8.0,
            "node_power_details": [
                {
                    "node_id": "node-a",
                    "node_name": "Desk",
                    "cpu_power": 4.0,
                    "gpu_power": 6.0,
                    "memory_power": 8.0,
                },
                {
                    "node_id": "node-b",
                    "node_name": "node-b",
                    "cpu_power": 1.8,
                    "gpu_power": 0.0,
                    "memory_power": 0.0,
                },
            ],
        },
    }


def test_jobs_and_queue(world: World) -> None:
    world.count(0, jobs_accepted_total=10, jobs_completed_total=4, jobs_failed_total=3, jobs_live=3)
    world.count(1, jobs_accepted_total=5, jobs_cancelled_total=3, jobs_live=2)
    world.put(
        "dispatcher_counters",
        0,
        queued=2,
        in_flight=3,
        failovers_total=6,
        oldest_queued_ns=NOW_NS - 1_500_900_000,
    )
    scheduler = snapshot(world)["scheduler"]
    assert scheduler["jobs"] == {
        "accepted": 15,
        "completed": 4,
        "failed": 3,
        "cancelled": 3,
        "live": 5,
        "queued": 2,
        "in_flight": 3,
    }
    assert scheduler["queue"] == {"depth": 2, "oldest_wait_ms": 1_500}
    assert scheduler["counters"]["gateways"]["jobs_accepted_total"] == 15
    assert scheduler["counters"]["dispatcher"]["failovers_total"] == 6


def test_a_job_queued_after_the_clock_was_read_has_not_waited(world: World) -> None:
    world.put("dispatcher_counters", 0, queued=1, oldest_queued_ns=NOW_NS + 5_000_000)
    assert snapshot(world)["scheduler"]["queue"] == {"depth": 1, "oldest_wait_ms": 0}


def test_latency_over_both_gateways(world: World) -> None:
    for gateway, value_ns, times in ((0, 1_000_000, 900), (1, 64_000_000, 100)):
        histogram = Histogram(world.views, "gateway_latency", "end_to_end_ns", gateway)
        for _ in range(times):
            histogram.record(value_ns)
    latency = snapshot(world)["scheduler"]["latency"]["end_to_end"]
    assert latency["count"] == 1_000
    # A histogram's value is off by an eighth at most.
    assert latency["p50_ms"] == pytest.approx(1.0, rel=0.125)
    assert latency["p90_ms"] == pytest.approx(1.0, rel=0.125)
    assert latency["p99_ms"] == pytest.approx(64.0, rel=0.125)
    assert latency["p999_ms"] == pytest.approx(64.0, rel=0.125)


def test_damaged_text_does_not_stop_a_snapshot(world: World) -> None:
    world.add_service("asr")
    world.put("services", 0, service_id=b"\xff\xfe")
    world.put_node(0, "node", installed=("asr",))
    world.put("nodes", 0, node_id=b"\x80", name=b"\xc3")
    world.put("sessions", 0, open=1, source=b"\xe4\xb8", target=b"\xff")
    nodes = snapshot(world)["nodes"]
    assert nodes["compute_power"]["node_power_details"][0]["node_id"] == "\ufffd"
    assert list(nodes["service_node_counts"]) == ["\ufffd\ufffd"]
