from collections.abc import Iterator

import pytest

from scheduler.protocol.status import Status
from scheduler.stats import audit as module
from scheduler.stats.schema import Audit, DifferingNode, RightedNode
from tests.stats.operators import Publishing
from tests.stats.world import STARTED_NS, World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def found(world: World, at_seconds: float = 5.0) -> Audit:
    return Publishing(world).publish(at_seconds).snapshot.scheduler.audit


def test_where_all_is_well_nothing_is_found(world: World) -> None:
    world.put_node(0, "node", in_flight=2, held=2)
    assert found(world) == Audit(0, [], 0, 0, 0, 0, 0, [])


def test_nodes_that_differ_for_long_are_named(world: World) -> None:
    world.put_node(0, "leaky", in_flight=3, held=1, audit_looks=45)
    world.put_node(1, "busy", in_flight=3, held=2, audit_looks=29)
    audit = found(world)
    assert audit.differing_nodes == 1
    assert audit.differing == [DifferingNode("leaky", 3, 1, 4.5)]


def test_only_the_worst_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NODES_NAMED_MAX", 2)
    for slot, looks in enumerate((40, 60, 50)):
        world.put_node(slot, f"node-{slot}", audit_looks=looks)
    audit = found(world)
    assert audit.differing_nodes == 3
    assert [node.node_id for node in audit.differing] == ["node-1", "node-2"]


def test_what_was_put_right_is_counted_and_named(world: World) -> None:
    world.put_node(0, "leaky", audit_freed_total=2)
    world.put_node(1, "left", status=Status.FREE, audit_freed_total=7)
    world.put("dispatcher_counters", 0, audit_freed_total=9, audit_rescored_total=1)
    world.count(0, attempts_dropped_total=3)
    world.count(1, jobs_overdue_total=4)
    audit = found(world)
    assert (audit.slots_freed_total, audit.rows_rescored_total) == (9, 1)
    assert (audit.attempts_dropped_total, audit.jobs_overdue_total) == (3, 4)
    assert audit.righted == [RightedNode("leaky", 2)]


def test_the_oldest_job_of_all_gateways_has_its_age(world: World) -> None:
    world.count(0, oldest_job_ns=STARTED_NS + 3_000_000_000)
    world.count(1, oldest_job_ns=STARTED_NS + 2_000_000_000)
    assert found(world, at_seconds=5.0).oldest_job_ms == 3_000
