from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scheduler.memory.histogram import Histogram
from scheduler.memory.layout import GATEWAY_COUNTERS
from scheduler.protocol.status import Status
from scheduler.top.frame import Order, Rates, make_frame, node_lines, sorted_rows
from scheduler.top.reading import Sample, Watcher
from tests.stats.world import STARTED_NS, World
from tests.top.looks import published

SECOND_NS = 1_000_000_000


class Clocked:
    """Samples of a world, each at a time that the test sets."""

    def __init__(self, world: World, watcher: Watcher) -> None:
        self.world = world
        self._watcher = watcher

    def at(self, seconds: float) -> Sample:
        """Look, `seconds` after the start of the program."""
        return replace(self._watcher.look(), now_ns=STARTED_NS + int(seconds * SECOND_NS))


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    with published(tmp_path) as world, closing(Watcher(tmp_path)) as watcher:
        yield Clocked(world, watcher)


def test_every_rate_has_its_counter() -> None:
    counters = {column.name for column in GATEWAY_COUNTERS.columns}
    assert {f"{name.removesuffix('_per_s')}_total" for name in Rates.__struct_fields__} <= counters


def test_rates_are_those_of_the_interval_over_all_gateways(clocked: Clocked) -> None:
    clocked.world.count(0, jobs_accepted_total=100, bytes_received_total=5)
    before = clocked.at(10)
    clocked.world.count(0, jobs_accepted_total=110)
    clocked.world.count(1, jobs_accepted_total=4, jobs_failed_total=1)
    frame = make_frame(before, clocked.at(12))
    assert frame.interval_s == 2
    assert frame.uptime_s == 12
    assert frame.rates.jobs_accepted_per_s == 7
    assert frame.rates.jobs_failed_per_s == 0.5
    assert frame.rates.bytes_received_per_s == 0
    assert [line.rates.jobs_accepted_per_s for line in frame.gateways] == [5, 2]


def test_the_first_frame_is_about_all_the_time_since_the_start(clocked: Clocked) -> None:
    clocked.world.count(0, jobs_accepted_total=100)
    frame = make_frame(None, clocked.at(10))
    assert (frame.interval_s, frame.rates.jobs_accepted_per_s) == (10, 10)


def test_latencies_are_those_of_the_interval(clocked: Clocked) -> None:
    histogram = Histogram(clocked.world.views, "gateway_latency", "end_to_end_ns", 1)
    for _ in range(100):
        histogram.record(5 * SECOND_NS)
    before = clocked.at(1)
    for _ in range(10):
        histogram.record(20_000_000)
    frame = make_frame(before, clocked.at(2))
    latency = frame.latency["end_to_end"]
    assert latency.count == 10
    assert latency.p50_ms == pytest.approx(20, rel=0.125)
    assert latency.p99_ms == pytest.approx(20, rel=0.125)
    assert frame.latency["dispatch"].p50_ms is None


def test_waiting_jobs_are_shown_by_what_they_wait_for(clocked: Clocked) -> None:
    world = clocked.world
    for name in ("asr", "nmt", "tts"):
        world.add_service(name)
    world.put("classes", 0, active=1, queued=12)
    world.views.column("classes", "services")[0, 0] = 0b101
    world.put("dispatcher_counters", 0, queued=12, oldest_queued_ns=STARTED_NS + SECOND_NS)
    frame = make_frame(None, clocked.at(3.5))
    assert [(queue.services, queue.queued) for queue in frame.queues] == [(["asr", "tts"], 12)]
    assert (frame.queued, frame.oldest_wait_ms) == (12, 2_500)


def test_a_class_no_longer_in_use_has_no_queue(clocked: Clocked) -> None:
    clocked.world.put("classes", 0, active=0, queued=12)
    assert make_frame(None, clocked.at(1)).queues == []


def test_nodes_are_counted_by_status_and_slots_are_of_ready_ones(clocked: Clocked) -> None:
    clocked.world.put_node(0, "a", capacity=4)
    clocked.world.put_node(1, "b", capacity=4)
    clocked.world.put_node(2, "c", capacity=8, status=Status.DRAINING)
    frame = make_frame(None, clocked.at(1))
    assert {name: n for name, n in frame.node_counts.items() if n} == {"ready": 2, "draining": 1}
    assert frame.slots == 8


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order.LOAD, ["d", "c", "b", "a", "e"]),
        (Order.NAME, ["a", "b", "c", "d", "e"]),
        (Order.STATUS, ["a", "c", "d", "e", "b"]),
    ],
)
def test_nodes_are_sorted(clocked: Clocked, order: Order, names: list[str]) -> None:
    put = clocked.world.put_node
    put(0, "4", name=b"d", in_flight=2, capacity=2)
    put(1, "2", name=b"b", in_flight=1, capacity=8, status=Status.OFFLINE)
    put(2, "3", name=b"c", in_flight=3, capacity=4)
    put(3, "1", name=b"a", in_flight=0, capacity=4)
    put(4, "5", name=b"e", in_flight=0, capacity=0)
    sample = clocked.at(1)
    rows = sorted_rows(sample.reading.table, order)
    assert [n.name for n in node_lines(sample.reading.table, rows, sample.now_ns)] == names


def test_orders_come_round() -> None:
    seen = [Order.LOAD, Order.LOAD.next, Order.LOAD.next.next, Order.LOAD.next.next.next]
    assert set(seen) == set(Order)
    assert seen[3] is Order.LOAD


def test_a_node_is_described(clocked: Clocked) -> None:
    for name in ("asr", "nmt"):
        clocked.world.add_service(name)
    clocked.world.put_node(
        5,
        "n-1",
        name="Köln".encode(),
        ready=("asr", "nmt"),
        gateway=-1,
        status=Status.OFFLINE,
        heartbeat_ns=STARTED_NS,
        cpu_percent=12.5,
    )
    sample = clocked.at(4)
    (line,) = node_lines(sample.reading.table, np.arange(1), sample.now_ns)
    assert (line.node_id, line.name, line.status, line.gateway) == ("n-1", "Köln", "offline", None)
    assert (line.services_ready, line.heartbeat_age_ms, line.cpu_percent) == (2, 4_000, 12.5)
