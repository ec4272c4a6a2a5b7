"""A node's figures reach its row of the table, cleaned of what no reader should see."""

from typing import Any

import pytest

from scheduler.gateway.node_usage import NodeUsage
from scheduler.protocol.ids import node_ref
from scheduler.protocol.node import ResourceUsage
from tests.gateway.world import World

REF = node_ref(3, 7)


def row(world: World, name: str) -> Any:
    return world.segment.views.column("nodes", name)[3]


def test_a_new_row_starts_without_load(world: World) -> None:
    usage = NodeUsage(world.segment.views)
    usage.write(REF, ResourceUsage(50, 60, 4, 70, 80), 1, 10)
    usage.start(REF, 20)
    assert row(world, "cpu_percent") == row(world, "memory_percent") == 0
    assert row(world, "gpu_percent") == row(world, "gpu_memory_percent") == 0
    assert row(world, "external_jobs") == 0
    assert (row(world, "usage_ref"), row(world, "heartbeat_ns")) == (REF, 20)


def test_a_heartbeat_writes_its_figures_and_time(world: World) -> None:
    usage = NodeUsage(world.segment.views)
    usage.start(REF, 1)
    usage.write(REF, ResourceUsage(50, 60, 4, 70, 80), 1, 10)
    assert row(world, "cpu_percent") == 50
    assert row(world, "memory_percent") == 60
    assert row(world, "gpu_percent") == 70
    assert row(world, "gpu_memory_percent") == 80
    assert row(world, "heartbeat_ns") == 10


@pytest.mark.parametrize(
    ("running", "in_flight", "external"), [(4, 1, 3), (1, 4, 0), (-9, 0, 0), (1 << 62, 0, 1 << 20)]
)
def test_external_jobs_are_the_reported_ones_beyond_ours(
    world: World, running: int, in_flight: int, external: int
) -> None:
    usage = NodeUsage(world.segment.views)
    usage.write(REF, ResourceUsage(0, 0, running), in_flight, 1)
    assert row(world, "external_jobs") == external


@pytest.mark.parametrize(
    ("reported", "shown"), [(None, 0), (float("nan"), 0), (-3.0, 0), (250.0, 100), (12.5, 12.5)]
)
def test_figures_out_of_range_are_shown_within_it(
    world: World, reported: float | None, shown: float
) -> None:
    NodeUsage(world.segment.views).write(REF, ResourceUsage(0, 0, 0, reported), 0, 1)
    assert row(world, "gpu_percent") == shown


def test_the_attempts_it_holds_are_written_and_a_new_row_has_none(world: World) -> None:
    usage = NodeUsage(world.segment.views)
    usage.hold(REF, 3)
    assert row(world, "held") == 3
    usage.start(REF, 1)
    assert row(world, "held") == 0
