"""One snapshot pass: reading the memory, making the structs, encoding them."""

import json

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.config import LoadBalancerSettings
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.protocol.status import Status
from scheduler.stats.reading import MemoryReader
from scheduler.stats.schema import CatalogueState, Origin, StatsCounters
from scheduler.stats.snapshot import encode, make_snapshot
from tests.benchmarks.sizes import sized

SIZES = sized([(1_000, 1_024), (10_000, 16_384)], [(100, 100)])
"""(nodes, sessions of each gateway)"""

GATEWAYS = 2
LANGUAGES = np.array([b"auto", b"de", b"en", b"es", b"fr", b"ja", b"zh"])


def fill(segment: Segment, seed: int) -> None:
    """Make every node connected and every session open."""
    random = np.random.default_rng(seed)
    column = segment.views.column
    nodes = segment.dimensions.nodes
    sessions = GATEWAYS * segment.dimensions.sessions_per_gateway
    column("nodes", "status")[:] = Status.READY
    column("nodes", "node_id")[:] = [f"node-{i:08X}".encode() for i in range(nodes)]
    column("nodes", "cpu_cores")[:] = random.integers(4, 64, nodes)
    column("nodes", "memory_gb")[:] = random.integers(8, 256, nodes)
    column("nodes", "cpu_percent")[:] = random.uniform(0, 100, nodes)
    column("nodes", "installed")[:, 0] = random.integers(0, 1 << 12, nodes)
    column("nodes", "ready")[:] = column("nodes", "installed")
    column("services", "service_id")[:12] = [f"service-{i}".encode() for i in range(12)]
    column("sessions", "open")[:] = 1
    column("sessions", "source")[:] = random.choice(LANGUAGES, sessions)
    column("sessions", "target")[:] = random.choice(LANGUAGES, sessions)
    column("sessions", "two_way")[:] = random.integers(0, 2, sessions)


@pytest.mark.parametrize(("nodes", "sessions"), SIZES)
def test_snapshot(benchmark: BenchmarkFixture, nodes: int, sessions: int) -> None:
    dimensions = Dimensions(
        gateways=GATEWAYS, nodes=nodes, sessions_per_gateway=sessions, classes=8
    )
    segment = Segment.create(dimensions, epoch="e", started_ms=0, started_ns=0)
    fill(segment, seed=1)
    reader = MemoryReader(Segment.attach(segment.fd, writable=False).views)

    def publish() -> bytes:
        snapshot = make_snapshot(
            reader.read(),
            processes=[],
            services=[],
            catalogue=CatalogueState("none"),
            stats=StatsCounters(),
            limits=LoadBalancerSettings(),
            origin=Origin(0, 1, ""),
            now_ns=0,
        )
        return encode(snapshot)

    made = json.loads(benchmark(publish))
    segment.close()
    assert made["nodes"]["connected_nodes"] == nodes
    assert made["web_clients"]["active_users"] == GATEWAYS * sessions
