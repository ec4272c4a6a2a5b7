"""Costs of reading and writing shared memory through its views, beside struct on the same bytes."""

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized

NODES = sized([1_000, 10_000, 100_000], [50])
ROW = ("ref", "status", "in_flight", "capacity", "external_jobs", "heartbeat_ns")
"""int64 columns, a row of which is read cell by cell."""

SLOT = 7


@pytest.fixture(params=NODES)
def segment(request: pytest.FixtureRequest) -> Iterator[Segment]:
    """A segment whose node columns hold the numbers from 0 on."""
    dimensions = Dimensions(
        gateways=1, nodes=request.param, sessions_per_gateway=16, classes=sized(8, 2)
    )
    made = Segment.create(dimensions, epoch="e", started_ms=0, started_ns=0)
    for number, name in enumerate(ROW):
        made.views.column("nodes", name)[:] = np.arange(request.param) + number
    yield made
    made.close()


def offset_of(segment: Segment, block: str, name: str) -> int:
    return segment.layout.placements[block, name].offset


def test_column_read(benchmark: BenchmarkFixture, segment: Segment) -> None:
    """A copy of a column, as an observer takes it."""
    column, buffer = segment.views.column("nodes", "in_flight"), segment.views._bytes.data
    offset, unpack = offset_of(segment, "nodes", "in_flight"), struct.Struct(f"{len(column)}q")
    copied = beside(benchmark, column.copy, struct=lambda: unpack.unpack_from(buffer, offset))
    assert tuple(copied.tolist()) == unpack.unpack_from(buffer, offset)


def test_column_write(benchmark: BenchmarkFixture, segment: Segment) -> None:
    column, buffer = segment.views.column("nodes", "in_flight"), segment.views._bytes.data
    offset, pack = offset_of(segment, "nodes", "in_flight"), struct.Struct(f"{len(column)}q")
    values = np.arange(len(column)) * 3
    numbers = tuple(values.tolist())

    def write() -> None:
        column[:] = values

    beside(benchmark, write, struct=lambda: pack.pack_into(buffer, offset, *numbers))
    assert pack.unpack_from(buffer, offset) == numbers


def test_row_read(benchmark: BenchmarkFixture, segment: Segment) -> None:
    """One node's figures, a cell of each column; beside struct and numpy's own scalars."""
    views, buffer = segment.views, segment.views._bytes.data
    cells = [views.cells("nodes", name) for name in ROW]
    columns = [views.column("nodes", name) for name in ROW]
    offsets = [offset_of(segment, "nodes", name) + 8 * SLOT for name in ROW]
    unpack = struct.Struct("q").unpack_from
    row = beside(
        benchmark,
        lambda: [cell[SLOT] for cell in cells],
        struct=lambda: [unpack(buffer, offset)[0] for offset in offsets],
        numpy=lambda: [int(column[SLOT]) for column in columns],
    )
    assert row == [SLOT + number for number in range(len(ROW))]
    assert row == [unpack(buffer, offset)[0] for offset in offsets]


def test_row_write(benchmark: BenchmarkFixture, segment: Segment) -> None:
    views, buffer = segment.views, segment.views._bytes.data
    cells = [views.cells("nodes", name) for name in ROW]
    offsets = [offset_of(segment, "nodes", name) + 8 * SLOT for name in ROW]
    word = struct.Struct("q")

    def write() -> None:
        for cell in cells:
            cell[SLOT] = 9

    def pack() -> None:
        for offset in offsets:
            word.pack_into(buffer, offset, 8)

    beside(benchmark, write, struct=pack)
    write()
    assert [word.unpack_from(buffer, offset)[0] for offset in offsets] == [9] * len(ROW)


def test_all_nodes_read(benchmark: BenchmarkFixture, segment: Segment) -> None:
    """The whole node table with the check that no row was torn."""
    copied, whole = benchmark(segment.views.copy_nodes)
    assert whole.all()
    assert copied["ref"].tolist() == list(range(segment.dimensions.nodes))


def test_counter_add(benchmark: BenchmarkFixture, segment: Segment) -> None:
    counters = segment.views.counters("gateway_counters", 0)
    buffer = segment.views._bytes.data
    offset, word = offset_of(segment, "gateway_counters", "heartbeats_total"), struct.Struct("q")

    def add() -> None:
        word.pack_into(buffer, offset, word.unpack_from(buffer, offset)[0] + 1)

    beside(benchmark, lambda: counters.add("heartbeats_total"), struct=add)
    before = counters.get("heartbeats_total")
    add()
    assert counters.get("heartbeats_total") == before + 1 > 1
