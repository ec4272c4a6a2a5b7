import json
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.memory.histogram import Histogram
from scheduler.protocol.status import Status
from scheduler.stats.history import EVENTS_MAX, POINTS_MAX, HistoryKeeper, Point
from tests.stats.operators import START_MS, Publishing
from tests.stats.world import World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def keeper() -> HistoryKeeper:
    return HistoryKeeper(2.0, lambda: START_MS + 1)


def shown(history: HistoryKeeper) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(history.document().data)
    return document


def test_a_point_says_what_happened_since_the_one_before(world: World) -> None:
    publishing, history = Publishing(world), keeper()
    dispatch = Histogram(world.views, "gateway_latency", "dispatch_ns", 0)
    dispatch.record(900_000_000)
    world.count(0, jobs_accepted_total=100, jobs_completed_total=100)
    history.observe(publishing.publish())
    assert shown(history)["t_ms"] == []

    for _ in range(100):
        dispatch.record(2_000_000)
    world.count(0, jobs_accepted_total=120, jobs_completed_total=110, jobs_failed_total=10)
    world.put("dispatcher_counters", 0, queued=5, in_flight=6)
    world.open_session(0, "de", "en")
    world.put_node(0, "node")
    history.observe(publishing.publish(at_seconds=2.0))
    found = shown(history)
    assert found["interval_s"] == 2.0
    assert found["t_ms"] == [START_MS + 2_000]
    assert (found["jobs_per_s"], found["failed_per_s"]) == ([5.0], [5.0])
    assert found["dispatch_p50_ms"] == [pytest.approx(2.0, rel=0.125)]
    assert found["dispatch_p99_ms"] == [pytest.approx(2.0, rel=0.125)]
    assert found["end_to_end_p50_ms"] == [None]
    assert (found["queued"], found["in_flight"]) == ([5], [6])
    assert (found["sessions"], found["nodes"]) == ([1], [1])


def test_every_column_is_as_long_as_the_others_and_bounded(world: World) -> None:
    publishing, history = Publishing(world), keeper()
    for second in range(POINTS_MAX + 3):
        history.observe(publishing.publish(at_seconds=second))
    found = shown(history)
    assert {len(found[name]) for name in Point.__struct_fields__} == {POINTS_MAX}
    assert found["t_ms"][-1] == START_MS + (POINTS_MAX + 2) * 1_000


def test_events_are_kept_and_bounded(world: World) -> None:
    publishing, history = Publishing(world), keeper()
    history.observe(publishing.publish())
    world.put_node(0, "node", status=Status.DRAINING)
    history.observe(publishing.publish(at_seconds=1.0))
    history.note("command", "drained")
    assert shown(history)["events"] == [
        {"t_ms": START_MS + 1_000, "kind": "node", "text": "node: now draining"},
        {"t_ms": START_MS + 1, "kind": "command", "text": "drained"},
    ]
    for number in range(EVENTS_MAX):
        history.note("command", str(number))
    events = shown(history)["events"]
    assert (len(events), events[0]["text"]) == (EVENTS_MAX, "0")


def test_the_document_is_made_once_for_each_change(world: World) -> None:
    history = keeper()
    first = history.document()
    assert history.document() is first
    history.note("command", "x")
    assert history.document() is not first
