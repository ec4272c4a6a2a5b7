import json
from collections.abc import Iterator

import pytest

from scheduler.protocol.ids import node_ref
from scheduler.protocol.status import Status
from scheduler.stats.node_table import NodeTables
from tests.stats.operators import START_MS, Publishing
from tests.stats.world import STARTED_NS, World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def test_a_node_is_shown_with_all_that_is_known(world: World) -> None:
    world.add_service("asr")
    world.add_service("tts")
    world.put_node(
        2,
        "node-1",
        name="Büro".encode(),
        installed=("asr", "tts"),
        ready=("tts",),
        in_flight=3,
        capacity=4,
        external_jobs=1,
        gateway=1,
        public=1,
        cpu_cores=8.0,
        memory_gb=32.0,
        gpus=2,
        gpu_memory_gb=48.0,
        cpu_percent=10.5,
        gpu_percent=20.0,
        gpu_memory_percent=30.0,
        memory_percent=40.0,
        heartbeat_ns=STARTED_NS + 1_000_000_000,
        status_since_ns=STARTED_NS + 500_000_000,
    )
    world.views.column("nodes", "marked")[2, 0] = 1
    tables = NodeTables()
    tables.observe(Publishing(world).publish(at_seconds=1.25))
    prepared = tables.all()
    assert prepared is not None
    assert json.loads(prepared.data) == {
        "generated_at_ms": START_MS + 1_250,
        "nodes": [
            {
                "node_id": "node-1",
                "name": "Büro",
                "status": "ready",
                "in_flight": 3,
                "capacity": 4,
                "external_jobs": 1,
                "gateway": 1,
                "public": True,
                "cpu_percent": 10.5,
                "gpu_percent": 20.0,
                "gpu_memory_percent": 30.0,
                "memory_percent": 40.0,
                "heartbeat_age_ms": 250,
                "status_age_ms": 750,
                "cpu_cores": 8.0,
                "memory_gb": 32.0,
                "gpus": 2,
                "gpu_memory_gb": 48.0,
                "services_installed": ["asr", "tts"],
                "services_ready": ["tts"],
                "services_marked": ["asr"],
            }
        ],
    }


def test_usage_of_the_row_s_node_before_is_not_shown(world: World) -> None:
    world.put_node(
        0, "new", ref=node_ref(0, 2), external_jobs=7, cpu_percent=99.0, heartbeat_ns=STARTED_NS
    )
    tables = NodeTables()
    tables.observe(Publishing(world).publish())
    one = tables.one("new")
    assert one is not None
    node = json.loads(one.data)
    assert (node["external_jobs"], node["cpu_percent"], node["heartbeat_age_ms"]) == (0, 0.0, None)


def test_offline_nodes_are_shown(world: World) -> None:
    world.put_node(0, "gone", status=Status.OFFLINE, gateway=-1)
    tables = NodeTables()
    tables.observe(Publishing(world).publish())
    one = tables.one("gone")
    assert one is not None
    assert json.loads(one.data)["status"] == "offline"
    assert json.loads(one.data)["gateway"] is None


def test_the_table_is_made_once_for_each_publication(world: World) -> None:
    publishing = Publishing(world)
    tables = NodeTables()
    assert tables.all() is None
    tables.observe(publishing.publish())
    first = tables.all()
    assert first is tables.all()
    world.put_node(0, "node")
    assert tables.one("node") is None
    tables.observe(publishing.publish())
    assert tables.one("node") is not None
    assert tables.all() is not first
