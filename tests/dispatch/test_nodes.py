import numpy as np
import pytest

from scheduler.dispatch.nodes import NOBODY, Node, NodeTable
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import generation_of, slot_of
from scheduler.protocol.status import TRANSITIONS, Status
from tests.dispatch.desk import registration


@pytest.fixture
def tables() -> Tables:
    return Tables.allocate(nodes=3, classes=1)


def occupy(table: NodeTable, node_id: str, status: Status = Status.READY) -> Node:
    node = table.place(node_id)
    assert node is not None
    table.write_row(node, registration(node_id), now_ns=5)
    table.set_status(node, Status.REGISTERING, 5)
    if status != Status.REGISTERING:
        table.set_status(node, status, 5)
    return node


def test_a_node_is_found_by_row_reference_and_id(tables: Tables) -> None:
    table = NodeTable(tables)
    node = occupy(table, "a")
    assert table.at(node.slot) is table.by_ref(node.ref) is table.by_id("a") is node
    assert list(table) == [node]
    assert len(table) == 1


def test_the_lowest_free_row_is_taken(tables: Tables) -> None:
    table = NodeTable(tables)
    nodes = [occupy(table, node_id, Status.OFFLINE) for node_id in "abc"]
    assert [node.slot for node in nodes] == [0, 1, 2]
    assert table.place("one too many") is None
    for node in (nodes[2], nodes[0]):
        table.forget(node)
    assert [occupy(table, node_id).slot for node_id in "de"] == [0, 2]
    assert table.high_water == 3


def test_a_rows_next_occupant_has_another_reference(tables: Tables) -> None:
    table = NodeTable(tables)
    first = occupy(table, "a", Status.OFFLINE)
    table.forget(first)
    second = occupy(table, "b")
    assert slot_of(second.ref) == slot_of(first.ref)
    assert generation_of(second.ref) == generation_of(first.ref) + 1
    assert table.by_ref(first.ref) is None
    assert table.by_id("a") is None


@pytest.mark.parametrize("ref", [-1, 0, 1 << 20 | 2])
def test_references_that_nobody_has_find_nobody(tables: Tables, ref: int) -> None:
    table = NodeTable(tables)
    occupy(table, "a")
    assert table.by_ref(ref) is None


def test_the_row_says_what_the_registration_said(tables: Tables) -> None:
    table = NodeTable(tables)
    node = table.place("a")
    assert node is not None
    node.capacity, node.public, node.gateway = 7, True, 2
    node.installed, node.ready = 0b11, 1 << 64
    record = registration("a", name="ü" * 40, cpu_cores=12.0, memory_gb=64.0, gpus=2)
    table.write_row(node, record, now_ns=99)
    rows = tables.nodes
    assert rows.ref[0] == node.ref
    assert (rows.capacity[0], rows.public[0], rows.gateway[0]) == (7, 1, 2)
    assert (rows.cpu_cores[0], rows.memory_gb[0], rows.gpus[0]) == (12.0, 64.0, 2)
    assert (rows.gpu_memory_gb[0], rows.registered_ns[0]) == (24.0, 99)
    assert rows.installed[0].tolist() == [0b11, 0, 0, 0]
    assert rows.ready[0].tolist() == [0, 1, 0, 0]
    assert rows.node_id[0] == b"a"
    assert rows.name[0].decode() == "ü" * 32
    assert rows.row_sequence[0] == 2


def test_only_what_the_life_cycle_allows_is_possible(tables: Tables) -> None:
    table = NodeTable(tables)
    node = occupy(table, "a")
    allowed = TRANSITIONS[Status.READY]
    for status in set(Status) - allowed:
        with pytest.raises(AssertionError):
            table.set_status(node, status, 6)
    table.set_status(node, Status.DRAINING, 7)
    assert (tables.nodes.status[0], tables.nodes.status_since_ns[0]) == (Status.DRAINING, 7)


def test_an_offline_node_has_no_gateway(tables: Tables) -> None:
    table = NodeTable(tables)
    node = occupy(table, "a", Status.OFFLINE)
    assert node.gateway == tables.nodes.gateway[0] == NOBODY


def test_a_node_fits_with_ready_unmarked_services_and_a_free_slot(tables: Tables) -> None:
    node = occupy(NodeTable(tables), "a")
    node.ready, node.capacity = 0b11, 1
    assert node.fits(0b11)
    assert not node.fits(0b111)
    node.marked = 0b01
    assert not node.fits(0b11)
    assert node.fits(0b10)
    assert node.has_free_slot()
    node.external_jobs = 1
    assert not node.has_free_slot()
    node.external_jobs, node.over_limit = 0, True
    assert not node.has_free_slot()


def test_a_new_dispatcher_finds_the_rows_of_the_last_one(tables: Tables) -> None:
    before = occupy(NodeTable(tables), "a")
    tables.nodes.in_flight[before.slot] = 3
    tables.nodes.marked[before.slot] = 1
    table = NodeTable(tables)
    node = table.by_id("a")
    assert node is not None
    assert (node.ref, node.status, node.gateway) == (before.ref, Status.OFFLINE, NOBODY)
    assert tables.nodes.in_flight[node.slot] == 0
    assert not tables.nodes.marked[node.slot].any()


def test_restored_rows_are_offline_from_the_takeover_on(tables: Tables) -> None:
    occupy(NodeTable(tables), "a")
    NodeTable(tables).count_offline_from(1234)
    assert tables.nodes.status_since_ns.tolist() == [1234, 0, 0]


def test_a_torn_row_is_given_up_and_its_reference_with_it(tables: Tables) -> None:
    first = occupy(NodeTable(tables), "a")
    occupy(table := NodeTable(tables), "b")
    tables.nodes.row_sequence[first.slot] += 1
    tables.nodes.in_flight[first.slot] = 2
    table = NodeTable(tables)
    assert table.by_id("a") is None
    assert table.by_id("b") is not None
    assert tables.nodes.status[first.slot] == Status.FREE
    assert tables.nodes.in_flight[first.slot] == 0
    next_one = occupy(table, "a")
    assert next_one.slot == first.slot
    assert next_one.ref != first.ref


def test_no_row_stays_torn_not_even_one_that_was_free(tables: Tables) -> None:
    tables.nodes.row_sequence[:] = [1, 2, 3]
    table = NodeTable(tables)
    assert not (tables.nodes.row_sequence % 2).any()
    occupy(table, "a")
    assert tables.nodes.row_sequence.tolist() == [4, 2, 4]


def test_of_two_rows_with_one_id_the_first_stays(tables: Tables) -> None:
    table = NodeTable(tables)
    occupy(table, "a")
    occupy(table, "b")
    tables.nodes.node_id[1] = b"a"
    table = NodeTable(tables)
    assert [node.slot for node in table] == [0]
    assert tables.nodes.status.tolist() == [Status.OFFLINE, Status.FREE, Status.FREE]


def test_an_id_that_fills_its_column_survives(tables: Tables) -> None:
    node_id = "ü" * 64
    occupy(NodeTable(tables), node_id)
    assert NodeTable(tables).by_id(node_id) is not None
    assert np.char.str_len(tables.nodes.node_id)[0] == 128
