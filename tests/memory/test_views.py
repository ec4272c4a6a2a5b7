"""Views: every column where the layout says, single cells, counters, whole rows."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from scheduler.memory.layout import BLOCKS, NODES, SERVICE_WORDS, Dimensions
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views

SMALL = Dimensions(gateways=2, nodes=8, sessions_per_gateway=4, classes=3)


@pytest.fixture
def views() -> Iterator[Views]:
    segment = Segment.create(SMALL, epoch="", started_ms=0, started_ns=0)
    yield segment.views
    segment.close()


def test_every_column_has_its_rows_and_type(views: Views) -> None:
    for block in BLOCKS:
        for column in block.columns:
            array = views.column(block.name, column.name)
            rows = SMALL.rows(block.rows)
            assert array.shape == ((rows, column.width) if column.width > 1 else (rows,))
            assert array.dtype == np.dtype(column.dtype)


def test_columns_do_not_disturb_each_other(views: Views) -> None:
    arrays = {(b.name, c.name): views.column(b.name, c.name) for b in BLOCKS for c in b.columns}
    for number, array in enumerate(arrays.values(), start=1):
        array[...] = str(number).encode() if array.dtype.kind == "S" else number
    for number, array in enumerate(arrays.values(), start=1):
        expected = str(number).encode() if array.dtype.kind == "S" else number
        assert (array == expected).all()


def test_scores_are_classes_by_nodes(views: Views) -> None:
    scores = views.scores()
    scores[2, 5] = 9
    assert scores.shape == (SMALL.classes, SMALL.nodes)
    assert views.column("scores", "score")[2 * SMALL.nodes + 5] == 9


def test_cells_store_into_the_column(views: Views) -> None:
    cells = views.cells("nodes", "in_flight")
    cells[4] = -3
    assert views.column("nodes", "in_flight")[4] == -3


def test_counters_write_their_own_row_only(views: Views) -> None:
    counters = views.counters("gateway_counters", 1)
    counters.add("jobs_accepted_total")
    counters.add("jobs_accepted_total", 4)
    counters.set("jobs_live", 7)
    counters.raise_to("jobs_live", 3)
    counters.raise_to("jobs_failed_total", 2)
    assert counters.get("jobs_live") == 7
    assert views.column("gateway_counters", "jobs_accepted_total").tolist() == [0, 5]
    assert views.column("gateway_counters", "jobs_failed_total").tolist() == [0, 2]


def test_an_unknown_counter_is_a_programmers_error(views: Views) -> None:
    with pytest.raises(KeyError):
        views.counters("gateway_counters", 0).add("no_such_total")


def test_bitsets_have_a_word_axis(views: Views) -> None:
    assert views.column("nodes", "ready").shape == (SMALL.nodes, SERVICE_WORDS)


def test_a_row_being_written_is_reported_torn(views: Views) -> None:
    views.column(NODES.name, "row_sequence")[3] = 5
    _, whole = views.copy_nodes()
    assert whole.tolist() == [True, True, True, False, True, True, True, True]


def test_a_copy_is_whole_while_rows_are_written(views: Views) -> None:
    """A writer keeps capacity = in_flight in every row; no whole row may show otherwise."""
    stop = threading.Event()

    def write() -> None:
        sequence = views.cells(NODES.name, "row_sequence")
        capacity = views.cells(NODES.name, "capacity")
        in_flight = views.cells(NODES.name, "in_flight")
        value = 0
        while not stop.is_set():
            value += 1
            for row in range(SMALL.nodes):
                sequence[row] += 1
                capacity[row] = value
                in_flight[row] = value
                sequence[row] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = 0
        for _ in range(2_000):
            rows, whole = views.copy_nodes()
            seen += int(whole.sum())
            assert (rows["capacity"][whole] == rows["in_flight"][whole]).all()
    finally:
        stop.set()
        writer.join()
    assert seen > 0
