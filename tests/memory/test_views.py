"""Views: every column where the layout says, single cells, counters, whole rows."""

import subprocess
import sys
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


WRITER = """
import sys
from scheduler.memory.segment import Segment

views = Segment.attach(int(sys.argv[1]), writable=True).views
sequence, capacity, in_flight = (
    views.cells("nodes", name) for name in ("row_sequence", "capacity", "in_flight")
)
value = 0
while True:
    value += 1
    for row in range(len(sequence)):
        sequence[row] += 1
        capacity[row] = value
        in_flight[row] = value
        sequence[row] += 1
    if value == 1:
        print("writing", flush=True)
"""


def test_a_copy_is_whole_while_another_process_writes_rows() -> None:
    """The writer keeps capacity = in_flight in every row; no whole row may show otherwise."""
    segment = Segment.create(SMALL, epoch="", started_ms=0, started_ns=0)
    arguments = [sys.executable, "-c", WRITER, str(segment.fd)]
    with subprocess.Popen(arguments, pass_fds=[segment.fd], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            seen = 0
            for _ in range(3_000):
                rows, whole = segment.views.copy_nodes()
                seen += int(whole.sum())
                assert (rows["capacity"][whole] == rows["in_flight"][whole]).all()
        finally:
            writer.kill()
    segment.close()
    assert seen > 0
