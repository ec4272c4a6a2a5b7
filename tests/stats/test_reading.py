import threading
from collections.abc import Iterator

import numpy as np
import pytest

from scheduler.memory.layout import DISPATCHER_COUNTERS, GATEWAY_COUNTERS
from scheduler.protocol.ids import node_ref
from scheduler.protocol.status import Status
from scheduler.stats.reading import MemoryReader, texts
from tests.harness import poll
from tests.stats.world import STARTED_NS, World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


@pytest.fixture
def reader(world: World) -> MemoryReader:
    return MemoryReader(world.reader_views())


def node_ids(reader: MemoryReader) -> list[str]:
    return texts(reader.read().nodes.node_id)


def test_connected_nodes_are_read_in_the_order_of_their_rows(
    world: World, reader: MemoryReader
) -> None:
    for slot, status in enumerate(Status):
        world.put_node(slot, status.wire, status=status)
    assert node_ids(reader) == ["registering", "ready", "degraded", "draining"]


def test_the_table_has_offline_nodes_too(world: World, reader: MemoryReader) -> None:
    for slot, status in enumerate(Status):
        world.put_node(slot, status.wire, status=status)
    expected = ["registering", "ready", "degraded", "draining", "offline"]
    assert texts(reader.read().table["node_id"]) == expected


def test_usage_of_the_row_s_node_before_is_not_the_new_one_s(
    world: World, reader: MemoryReader
) -> None:
    world.put_node(0, "new", cpu_percent=70.0, gpu_percent=60.0, memory_percent=50.0)
    nodes = reader.read().nodes
    assert (nodes.cpu_percent[0], nodes.gpu_percent[0], nodes.memory_percent[0]) == (70, 60, 50)
    world.put("nodes", 0, ref=node_ref(0, 2))
    nodes = reader.read().nodes
    assert (nodes.cpu_percent[0], nodes.gpu_percent[0], nodes.memory_percent[0]) == (0, 0, 0)


def test_a_row_torn_at_first_sight_is_left_out(world: World, reader: MemoryReader) -> None:
    world.put_node(0, "whole")
    world.put_node(1, "torn", row_sequence=1)
    reading = reader.read()
    assert texts(reading.nodes.node_id) == ["whole"]
    assert reading.torn_rows == 1


def test_a_torn_row_is_shown_as_it_was(world: World, reader: MemoryReader) -> None:
    world.put_node(0, "before", cpu_cores=8.0)
    world.put_node(1, "other")
    assert node_ids(reader) == ["before", "other"]
    world.put_node(0, "half-writ", cpu_cores=9.0, row_sequence=1)
    world.put_node(1, "changed")
    for _ in range(2):
        reading = reader.read()
        assert texts(reading.nodes.node_id) == ["before", "changed"]
        assert reading.nodes.cpu_cores[0] == 8.0
        assert reading.torn_rows == 1
    world.put_node(0, "after", row_sequence=2)
    reading = reader.read()
    assert texts(reading.nodes.node_id) == ["after", "changed"]
    assert reading.torn_rows == 0


def test_rows_are_whole_while_they_are_written(world: World, reader: MemoryReader) -> None:
    """A real writer, a real reader: id, name and cores always belong together."""
    ended = threading.Event()

    def write() -> None:
        sequence, turn = 0, 0
        # A breath between rows: one that is never at rest would show nothing but old copies.
        while not ended.wait(0.0002):
            turn = (turn + 1) % 100
            world.put("nodes", 0, row_sequence=sequence + 1)
            world.put_node(0, f"node-{turn}", name=f"name-{turn}".encode(), cpu_cores=turn)
            sequence += 2
            world.put("nodes", 0, row_sequence=sequence)

    seen = set()

    def look() -> bool:
        for _ in range(20):
            nodes = reader.read().nodes
            for row in range(len(nodes.node_id)):
                turn = nodes.node_id[row].decode().removeprefix("node-")
                assert nodes.name[row].decode() == f"name-{turn}"
                assert nodes.cpu_cores[row] == int(turn)
                seen.add(turn)
        return len(seen) >= 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        poll("many versions of the row are seen", look)
    finally:
        ended.set()
        writer.join(timeout=10)
    assert not writer.is_alive()


def test_open_sessions_of_all_gateways(world: World, reader: MemoryReader) -> None:
    world.open_session(0, "zh", "en")
    world.open_session(1, "gone", "gone")
    world.open_session(5, "de", "fr", two_way=True)
    world.put("sessions", 1, open=0)
    sessions = reader.read().sessions
    assert texts(sessions.source) == ["zh", "de"]
    assert texts(sessions.target) == ["en", "fr"]
    assert sessions.two_way.tolist() == [False, True]


def test_every_declared_counter_is_read(world: World, reader: MemoryReader) -> None:
    names = [column.name for column in GATEWAY_COUNTERS.columns]
    for number, name in enumerate(names):
        world.count(0, **{name: number})
        world.count(1, **{name: 1_000})
    expected = {name: 1_000 + i for i, name in enumerate(names)}
    reading = reader.read()
    assert reading.oldest_job_ns == expected.pop("oldest_job_ns") - 1_000
    assert reading.gateways == expected


def test_points_in_time_are_no_counters(world: World, reader: MemoryReader) -> None:
    names = [column.name for column in DISPATCHER_COUNTERS.columns]
    for number, name in enumerate(names):
        world.put("dispatcher_counters", 0, **{name: number + 1})
    reading = reader.read()
    expected = {name: i + 1 for i, name in enumerate(names)}
    assert reading.oldest_queued_ns == expected.pop("oldest_queued_ns")
    assert reading.dispatcher == expected


def test_states_of_jobs_add_up_while_they_change(world: World, reader: MemoryReader) -> None:
    """The reader looks again when it met a job on its way from one state to the next."""
    world.count(0, jobs_accepted_total=10, jobs_completed_total=9)
    looks = []

    class Watched(MemoryReader):
        def _look_at_gateways(self) -> dict[str, int]:
            counts = super()._look_at_gateways()
            looks.append(counts["jobs_live"])
            world.count(0, jobs_live=1)
            return counts

    counts = Watched(world.reader_views()).read().gateways
    assert looks == [0, 1]
    assert counts["jobs_accepted_total"] == counts["jobs_completed_total"] + counts["jobs_live"]


def test_a_gateway_killed_between_two_states_does_not_hold_up_the_reader(
    world: World, reader: MemoryReader
) -> None:
    world.count(0, jobs_accepted_total=1)
    assert reader.read().gateways["jobs_accepted_total"] == 1


def test_histograms_are_summed_over_gateways(world: World, reader: MemoryReader) -> None:
    world.views.column("gateway_latency", "dispatch_ns")[0, 3] = 2
    world.views.column("gateway_latency", "dispatch_ns")[1, 3] = 5
    latency = reader.read().latency
    assert [*latency][:2] == ["receive", "submit"]
    assert list(latency)[-1] == "end_to_end"
    assert int(np.flatnonzero(latency["dispatch"])[0]) == 3
    assert latency["dispatch"][3] == 7
    assert not latency["end_to_end"].any()


def test_the_header(world: World, reader: MemoryReader) -> None:
    world.put("header", 0, generation=3)
    reading = reader.read()
    assert (reading.started_ns, reading.generation) == (STARTED_NS, 3)


def test_a_reading_does_not_change_with_the_memory(world: World, reader: MemoryReader) -> None:
    world.put_node(0, "node")
    world.open_session(0, "zh", "en")
    reading = reader.read()
    world.put_node(0, "other")
    world.open_session(0, "de", "fr")
    assert texts(reading.nodes.node_id) == ["node"]
    assert texts(reading.sessions.source) == ["zh"]
