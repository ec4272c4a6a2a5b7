import os
from collections.abc import Iterator

import numpy as np
import pytest

from scheduler.memory.histogram import Histogram
from scheduler.memory.layout import DISPATCHER_ROW, Dimensions
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.protocol.status import Status
from scheduler.stress.raw import NodeLoad
from scheduler.stress.watch import HARNESS, Watch, busy_seconds, node_load, scheduler_pids

SMALL = Dimensions(gateways=2, nodes=4, sessions_per_gateway=4, classes=3)


@pytest.fixture
def views() -> Iterator[Views]:
    segment = Segment.create(SMALL, epoch="", started_ms=0, started_ns=0)
    yield segment.views
    segment.close()


def put_node(views: Views, row: int, in_flight: int, capacity: int) -> None:
    values = {"status": Status.READY, "in_flight": in_flight, "capacity": capacity}
    for name, value in values.items():
        views.column("nodes", name)[row] = value


def test_a_look_has_processes_queue_and_nodes(views: Views) -> None:
    views.column("processes", "pid")[DISPATCHER_ROW] = os.getpid()
    views.column("dispatcher_counters", "queued")[0] = 7
    put_node(views, 1, 1, 4)
    look = Watch(views, {"load: me": os.getpid()}).look()
    assert set(look.cpu_seconds) == {"dispatcher", "load: me", HARNESS}
    assert look.busy_seconds > 0
    assert look.queued == 7
    assert look.load == NodeLoad(1, *[0.25] * 5)


def test_elsewhere_only_the_load_is_seen() -> None:
    watch = Watch(None, {})
    watch.begin()
    look = watch.look()
    assert list(look.cpu_seconds) == [HARNESS]
    assert look.queued is None
    assert look.load is None
    assert watch.inside() is None


def test_what_was_before_the_run_does_not_count(views: Views) -> None:
    node = Histogram(views, "gateway_latency", "node_ns", 1)
    node.record(5_000)
    views.column("gateway_counters", "jobs_accepted_total")[0] = 3
    watch = Watch(views, {})
    watch.begin()
    node.record(7_000)
    node.record(7_000)
    views.column("gateway_counters", "jobs_accepted_total")[1] = 2
    inside = watch.inside()
    assert inside is not None
    assert sum(inside.stages["node"]) == 2
    assert inside.counters["jobs_accepted"] == 2


def test_nodes_have_their_mean_over_the_looks(views: Views) -> None:
    watch = Watch(views, {})
    watch.begin()
    put_node(views, 0, 4, 4)
    watch.look()
    put_node(views, 0, 2, 4)
    put_node(views, 3, 0, 1)
    watch.look()
    inside = watch.inside()
    assert inside is not None
    assert inside.node_busy == [0.75, 0]


def test_no_node_has_no_load() -> None:
    assert node_load(np.zeros(0)) is None


def test_processes_have_names(views: Views) -> None:
    assert list(scheduler_pids(views)) == [
        *("supervisor", "dispatcher", "stats", "gateway 0", "gateway 1")
    ]


def test_the_machine_was_busy() -> None:
    assert busy_seconds() > 0
