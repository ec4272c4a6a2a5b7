"""One look at the shared memory: copies of what a snapshot needs, consistent row by row."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import (
    DISPATCHER_COUNTERS,
    GATEWAY_COUNTERS,
    GATEWAY_LATENCY,
    SESSIONS,
    Block,
)
from scheduler.memory.views import Views
from scheduler.protocol.status import Status

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Texts = NDArray[np.bytes_]
Int64s = NDArray[np.int64]
NodeColumns = dict[str, NDArray[Any]]
"""Rows of the node table by the names of its columns."""

CONNECTED = (Status.REGISTERING, Status.READY, Status.DEGRADED, Status.DRAINING)

_LOOKS_MAX = 8
_CLOCK_UNIT = "ns monotonic"
"""Of columns that are points in time, which mean nothing outside this machine."""


@dataclass(frozen=True, slots=True)
class NodeRows:
    """Connected nodes, in the order of their rows; arrays of shape (nodes,).

    The service bitsets have shape (nodes, SERVICE_WORDS).
    """

    node_id: Texts
    name: Texts
    cpu_cores: Floats
    memory_gb: Floats
    gpu_memory_gb: Floats
    cpu_percent: Floats
    gpu_percent: Floats
    memory_percent: Floats
    installed: Words
    ready: Words


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Open sessions; arrays of shape (sessions,)."""

    source: Texts
    target: Texts
    two_way: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a snapshot says of the shared memory.

    `service_ids` has one entry per bit of a service bitset, "" where unused. `latency` holds
    bucket counts of shape (HISTOGRAM_BUCKETS,), summed over the gateways. `torn_rows` is the
    number of node rows for which an earlier copy, or none, had to do. `table` holds all rows
    that are in use, those of offline nodes too.
    """

    nodes: NodeRows
    table: NodeColumns
    torn_rows: int
    sessions: SessionRows
    service_ids: list[str]
    gateways: dict[str, int]
    dispatcher: dict[str, int]
    oldest_queued_ns: int
    oldest_job_ns: int
    latency: dict[str, Int64s]
    generation: int
    started_ns: int


_USAGE_COLUMNS = (
    "cpu_percent",
    "gpu_percent",
    "gpu_memory_percent",
    "memory_percent",
    "external_jobs",
    "heartbeat_ns",
)
_JOB_STATES = ("jobs_completed_total", "jobs_failed_total", "jobs_cancelled_total", "jobs_live")


class MemoryReader:
    """Reads again and again, and keeps the last good copy of the node rows."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._last: NodeColumns | None = None
        self._started_ns = int(views.column("header", "started_ns")[0])

    def read(self) -> Reading:
        """Return copies; nothing in them changes any more."""
        views = self._views
        table, torn_rows = self._read_nodes()
        return Reading(
            nodes=_connected(table),
            table=table,
            torn_rows=torn_rows,
            sessions=self._read_sessions(),
            # After the nodes: a service has its name before a node has its bit.
            service_ids=texts(views.column("services", "service_id")),
            gateways=self._read_gateways(),
            dispatcher={
                column: int(views.column(DISPATCHER_COUNTERS.name, column)[0])
                for column in _DISPATCHER_COUNTERS
            },
            oldest_queued_ns=int(views.column(DISPATCHER_COUNTERS.name, "oldest_queued_ns")[0]),
            oldest_job_ns=self._read_oldest_job_ns(),
            latency=self._read_latency(),
            generation=int(views.column("header", "generation")[0]),
            started_ns=self._started_ns,
        )

    def _read_nodes(self) -> tuple[NodeColumns, int]:
        rows, whole = self._views.copy_nodes()
        torn = ~whole
        torn_rows = int(torn.sum())
        if torn_rows and self._last is None:
            rows["status"][torn] = Status.FREE
        elif torn_rows and self._last is not None:
            for name, values in rows.items():
                values[torn] = self._last[name][torn]
        self._last = rows
        used = rows["status"] != Status.FREE
        table = {name: values[used] for name, values in rows.items()}
        # A row's usage stands for the node before it until its gateway has written to it.
        unknown = table["usage_ref"] != table["ref"]
        for name in _USAGE_COLUMNS:
            table[name][unknown] = 0
        return table, torn_rows

    def _read_sessions(self) -> SessionRows:
        """Copy the rows of open sessions.

        No sequence guards them: a row that changes hands just now may show a mixture of both
        sessions' languages, which the next snapshot doesn't remember.
        """
        column = self._views.column
        is_open = column(SESSIONS.name, "open") != 0
        return SessionRows(
            source=column(SESSIONS.name, "source")[is_open],
            target=column(SESSIONS.name, "target")[is_open],
            two_way=column(SESSIONS.name, "two_way")[is_open] != 0,
        )

    def _read_gateways(self) -> dict[str, int]:
        """Return the sums over the gateways, so that no job is missing from the sum of states.

        A job between two states is caught by looking again; a gateway killed between them stays
        off by that job until its successor has settled it.
        """
        for _ in range(_LOOKS_MAX):
            counts = self._look_at_gateways()
            if counts["jobs_accepted_total"] == sum(counts[name] for name in _JOB_STATES):
                break
        return counts

    def _look_at_gateways(self) -> dict[str, int]:
        column = self._views.column
        return {name: int(column(GATEWAY_COUNTERS.name, name).sum()) for name in _GATEWAY_COUNTERS}

    def _read_oldest_job_ns(self) -> int:
        oldest_ns = self._views.column(GATEWAY_COUNTERS.name, "oldest_job_ns")
        return min((ns for ns in oldest_ns.tolist() if ns), default=0)

    def _read_latency(self) -> dict[str, Int64s]:
        column, block = self._views.column, GATEWAY_LATENCY.name
        return {
            stage.name.removesuffix("_ns"): column(block, stage.name).sum(axis=0)
            for stage in GATEWAY_LATENCY.columns
        }


def _connected(table: NodeColumns) -> NodeRows:
    connected = np.isin(table["status"], CONNECTED)
    return NodeRows(**{field.name: table[field.name][connected] for field in fields(NodeRows)})


def texts(values: Texts) -> list[str]:
    """Return the strings of an array of UTF-8; a cut or torn one gets replacement characters."""
    return [value.decode(errors="replace") for value in values.tolist()]


def services_of(words: Words, service_ids: list[str]) -> list[str]:
    """Return the sorted ids in a service bitset of shape (SERVICE_WORDS,)."""
    mask = int.from_bytes(words.tobytes(), "little")
    return sorted(name for bit, name in enumerate(service_ids) if mask >> bit & 1 and name)


def _shown(block: Block) -> tuple[str, ...]:
    return tuple(column.name for column in block.columns if column.unit != _CLOCK_UNIT)


_GATEWAY_COUNTERS = _shown(GATEWAY_COUNTERS)
_DISPATCHER_COUNTERS = _shown(DISPATCHER_COUNTERS)
