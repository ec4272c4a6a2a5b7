"""The layout as data: nothing overlaps, nothing shares a line with another writer."""

from itertools import pairwise

import msgspec
import pytest

from scheduler.memory import layout
from scheduler.memory.layout import ALIGNMENT_BYTES, BLOCKS, Dimensions, Layout

SIZES = [
    Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1),
    Dimensions(gateways=3, nodes=1000, sessions_per_gateway=77, classes=8),
]


def columns() -> list[tuple[layout.Block, layout.Column]]:
    return [(block, column) for block in BLOCKS for column in block.columns]


def test_names_are_unique() -> None:
    names = [(block.name, column.name) for block, column in columns()]
    assert len(names) == len(set(names))
    assert len({block.name for block in BLOCKS}) == len(BLOCKS)


def test_every_column_is_explained() -> None:
    assert all(column.help and block.help for block, column in columns())


@pytest.mark.parametrize("dimensions", SIZES)
def test_no_two_values_overlap(dimensions: Dimensions) -> None:
    made = Layout(dimensions)
    spans = []
    for place in made.placements.values():
        width = place.shape[1] if len(place.shape) > 1 else 1
        for row in range(place.shape[0]):
            start = place.offset + row * place.strides[0]
            spans.append((start, start + width * place.dtype.itemsize))
    spans.sort()
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert spans[-1][1] <= made.total_bytes


@pytest.mark.parametrize("dimensions", SIZES)
def test_rows_of_by_row_blocks_and_columns_of_others_start_on_their_own_lines(
    dimensions: Dimensions,
) -> None:
    made = Layout(dimensions)
    for block in BLOCKS:
        places = [made.placements[block.name, column.name] for column in block.columns]
        if block.by_row:
            assert min(place.offset for place in places) % ALIGNMENT_BYTES == 0
            assert all(place.strides[0] % ALIGNMENT_BYTES == 0 for place in places)
        else:
            assert all(place.offset % ALIGNMENT_BYTES == 0 for place in places)


def test_integers_are_aligned_so_that_their_stores_do_not_tear() -> None:
    for place in Layout(SIZES[1]).placements.values():
        if place.dtype.kind in "iuf":
            assert place.offset % place.dtype.itemsize == 0
            assert all(stride % place.dtype.itemsize == 0 for stride in place.strides)


def test_a_block_that_lies_row_by_row_has_one_writer() -> None:
    for block in BLOCKS:
        if block.by_row and block.name != "release_rings":
            assert len({column.writer for column in block.columns}) == 1


def test_the_hash_follows_the_dimensions() -> None:
    assert Layout(SIZES[0]).layout_hash != Layout(SIZES[1]).layout_hash
    assert Layout(SIZES[0]).layout_hash == Layout(SIZES[0]).layout_hash
    assert 0 <= Layout(SIZES[1]).layout_hash < 1 << 63


def test_the_json_export_names_every_column() -> None:
    exported = msgspec.json.decode(Layout(SIZES[0]).to_json())
    assert len(exported["columns"]) == len(columns())
    assert {"block", "column", "dtype", "unit", "writer", "help", "offset", "shape", "strides"} == (
        set(exported["columns"][0])
    )
