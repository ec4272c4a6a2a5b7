"""Blocks of the shared memory as documents: whatever columns the layout has, by their units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import (
    CANCELLATIONS,
    EXCLUSIONS,
    GATEWAY_CODES,
    NODES,
    STORMS,
    Block,
    Column,
)
from scheduler.memory.views import Views
from scheduler.protocol.cancellations import CANCEL_LABELS
from scheduler.protocol.codes import CODE_LABELS
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.missing import MISSING_REASONS
from scheduler.protocol.status import Status

Document = dict[str, Any]

_CLOCK_UNIT = "ns monotonic"
_LABELS: dict[str, tuple[str, ...]] = {
    GATEWAY_CODES.name: CODE_LABELS,
    CANCELLATIONS.name: CANCEL_LABELS,
    EXCLUSIONS.name: tuple(reason.value for reason in Exclusion),
    STORMS.name: MISSING_REASONS,
}
"""What the values of wide columns stand for, in blocks that count by something."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """Turns this machine's monotonic times into times of day; `offset_ns` is what lies between."""

    offset_ns: int

    def text(self, time_ns: int) -> str:
        """Return a monotonic time as UTC, to the microsecond."""
        return utc_text(time_ns + self.offset_ns)


def utc_text(epoch_ns: int) -> str:
    """Return a time since the epoch as UTC, to the microsecond."""
    seconds, rest_ns = divmod(epoch_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest_ns // 1_000:06}Z"


class Describer:
    """Makes documents of the rows of one segment."""

    def __init__(self, views: Views, clock: WallClock, service_ids: list[str]) -> None:
        """`service_ids` has one entry per bit of a service bitset, "" where unused."""
        self._views = views
        self._clock = clock
        self._service_ids = service_ids
        self._known: dict[bytes, list[str]] = {}

    def rows(self, block: Block, *, without: tuple[str, ...] = ()) -> list[Document]:
        """Return each row of a block, but for those columns."""
        columns = [column for column in block.columns if column.name not in without]
        arrays = {c.name: self._views.column(block.name, c.name).copy() for c in columns}
        return self.describe(block, arrays)

    def describe(self, block: Block, arrays: Mapping[str, NDArray[Any]]) -> list[Document]:
        """Return the rows of columns of a block that were copied before, by their names."""
        columns = [column for column in block.columns if column.name in arrays]
        names = [_name(column) for column in columns]
        values = [self._values(block, column, arrays[column.name]) for column in columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def services(self, words: NDArray[np.uint64]) -> list[str]:
        """Return the services of one bitset, shape (SERVICE_WORDS,)."""
        key = words.tobytes()
        if key not in self._known:
            bits = np.flatnonzero(np.unpackbits(np.frombuffer(key, np.uint8), bitorder="little"))
            self._known[key] = [self._service_ids[bit] for bit in bits]
        return self._known[key]

    def _values(self, block: Block, column: Column, array: NDArray[Any]) -> list[Any]:
        if column.unit == "bits":
            return [self.services(words) for words in array]
        found: list[Any] = array.tolist()
        if column.unit == _CLOCK_UNIT:
            return [self._clock.text(time_ns) if time_ns else None for time_ns in found]
        if column.dtype.startswith("S"):
            return [text.decode(errors="replace") for text in found]
        if column.width > 1 and block.name in _LABELS:
            labels = _LABELS[block.name]
            if column.width > len(labels):
                found = array.reshape(len(array), len(labels), -1).tolist()
            return [dict(zip(labels, row, strict=True)) for row in found]
        if block is NODES and column.name == "status":
            return [Status(status).wire for status in found]
        return found


def _name(column: Column) -> str:
    if column.unit == _CLOCK_UNIT:
        return f"{column.name.removesuffix('_ns')}_at"
    return column.name
