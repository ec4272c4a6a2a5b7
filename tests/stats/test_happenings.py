from collections.abc import Iterator

import pytest

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW
from scheduler.protocol.status import Status
from scheduler.stats.happenings import NAMED_NODES_MAX, Watcher
from scheduler.stats.schema import CatalogueState
from tests.stats.operators import START_MS, Publishing
from tests.stats.world import STARTED_NS, World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


class Watch:
    def __init__(self, world: World) -> None:
        self.publishing = Publishing(world)
        self._watcher = Watcher()

    def lines(self, at_seconds: float = 0.0) -> list[tuple[str, str]]:
        found = self._watcher.observe(self.publishing.publish(at_seconds))
        assert all(happening.t_ms == START_MS + at_seconds * 1_000 for happening in found)
        return [(happening.kind, happening.text) for happening in found]


def test_what_was_there_at_first_is_no_news(world: World) -> None:
    world.put_node(0, "node")
    watch = Watch(world)
    assert watch.lines() == []
    assert watch.lines() == []


def test_nodes_that_come_change_and_go(world: World) -> None:
    watch = Watch(world)
    watch.lines()
    world.put_node(0, "node", status=Status.REGISTERING)
    assert watch.lines() == [("node", "node: now registering")]
    world.put("nodes", 0, status=Status.READY)
    assert watch.lines() == [("node", "node: now ready")]
    world.put("nodes", 0, status=Status.FREE)
    assert watch.lines() == [("node", "node: forgotten")]


def test_many_nodes_at_once_are_one_line(world: World) -> None:
    watch = Watch(world)
    watch.lines()
    for slot in range(NAMED_NODES_MAX + 1):
        world.put_node(slot, f"node-{slot}")
    assert watch.lines() == [("node", f"{NAMED_NODES_MAX + 1} nodes: now ready")]


def test_processes_that_fall_and_rise(world: World) -> None:
    world.beat(FIRST_GATEWAY_ROW + 1, now_ns=STARTED_NS)
    world.beat(DISPATCHER_ROW, now_ns=STARTED_NS)
    watch = Watch(world)
    watch.lines()
    world.beat(FIRST_GATEWAY_ROW + 1, now_ns=STARTED_NS + 3_000_000_000)
    assert watch.lines(3.0) == [("process", "dispatcher shows no life")]
    world.put("processes", FIRST_GATEWAY_ROW + 1, pid=0)
    assert watch.lines(3.0) == [("process", "gateway 1 is not running")]
    world.put("processes", FIRST_GATEWAY_ROW + 1, pid=77, restarts=1)
    assert watch.lines(3.0) == [("process", "gateway 1 was restarted, now process 77")]


def test_a_hub_that_fails_and_comes_back(world: World) -> None:
    watch = Watch(world)
    watch.lines()
    watch.publishing.catalogue = CatalogueState("file", fail_count=1, last_error="refused")
    assert watch.lines() == [("catalogue", "model hub: refused")]
    assert watch.lines() == []
    watch.publishing.catalogue = CatalogueState("hub")
    assert watch.lines() == [("catalogue", "model hub answers again")]
