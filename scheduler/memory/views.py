"""Typed views over a segment: numpy arrays, single cells, and counters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import NODES, Layout

_READ_TRIES_MAX = 16


class Counters:
    """One row of integers, of which this process is the only writer."""

    __slots__ = ("_cells", "_index")

    def __init__(self, cells: memoryview, index: dict[str, int]) -> None:
        """`index` tells the cell of each column."""
        self._cells = cells
        self._index = index

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self._cells[self._index[name]] += amount

    def set(self, name: str, value: int) -> None:
        """Set a gauge."""
        self._cells[self._index[name]] = value

    def get(self, name: str) -> int:
        """Return the present value."""
        value: int = self._cells[self._index[name]]
        return value

    def raise_to(self, name: str, value: int) -> None:
        """Keep the greater of the present value and `value`."""
        cell = self._index[name]
        self._cells[cell] = max(self._cells[cell], value)


class Views:
    """The columns of a segment. Over a read-only buffer all arrays are read-only for good."""

    def __init__(self, buffer: memoryview, layout: Layout) -> None:
        # frombuffer keeps the mapping alive as long as any array does; an ndarray made with
        # `buffer=` would crash the process when read after the mapping was closed.
        self._bytes: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8, layout.total_bytes)
        self._layout = layout

    def column(self, block: str, name: str) -> NDArray[Any]:
        """Return a column: shape (rows,), or (rows, width) where it is wider than one."""
        place = self._layout.placements[block, name]
        size = place.dtype.itemsize
        width = place.shape[1] if len(place.shape) > 1 else 1
        stride = place.strides[0]
        # Every row begins and ends inside the segment, so the last row's stride may end early.
        rows = np.lib.stride_tricks.as_strided(
            self._bytes[place.offset :],
            shape=(place.shape[0], width * size),
            strides=(stride, 1),
            writeable=self._bytes.flags.writeable,
        )
        array = rows.view(place.dtype)
        return array if len(place.shape) > 1 else array[:, 0]

    def scores(self) -> NDArray[np.int64]:
        """Return the scores, shape (classes, nodes)."""
        dimensions = self._layout.dimensions
        return self.column("scores", "score").reshape(dimensions.classes, dimensions.nodes)

    def cells(self, block: str, name: str) -> memoryview:
        """Return an int64 column for storing single values, which takes 18 ns against 28."""
        return memoryview(self.column(block, name))  # type: ignore[arg-type]

    def counters(self, block: str, row: int) -> Counters:
        """Return a row of a block that lies row by row and holds int64 columns only."""
        columns = {n: p for (b, n), p in self._layout.placements.items() if b == block}
        first = min(place.offset for place in columns.values())
        stride = next(iter(columns.values())).strides[0]
        start = first + row * stride
        cells = memoryview(self._bytes[start : start + stride]).cast("q")  # type: ignore[arg-type]
        return Counters(cells, {n: (p.offset - first) // 8 for n, p in columns.items()})

    def copy_nodes(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """Copy the node table: its columns by name, and which rows are whole.

        A row that the dispatcher is writing is read again a few times; one that is torn even
        then is marked so, and whoever needs it falls back to an earlier copy.
        """
        columns = {c.name: self.column(NODES.name, c.name) for c in NODES.columns}
        sequence = columns["row_sequence"]
        before = sequence.copy()
        copied = {name: column.copy() for name, column in columns.items()}
        whole = (before == sequence) & (before % 2 == 0)
        for _ in range(_READ_TRIES_MAX):
            torn = np.flatnonzero(~whole)
            if not torn.size:
                break
            before = sequence[torn]
            for name, column in columns.items():
                copied[name][torn] = column[torn]
            whole[torn] = (before == sequence[torn]) & (before % 2 == 0)
        return copied, whole
