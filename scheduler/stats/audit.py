"""What the dispatcher's audit of its load found, and what it could not put right."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.stats.reading import NodeColumns, Reading
from scheduler.stats.schema import Audit, DifferingNode, RightedNode

DIFFERING_LOOKS = 30
"""Three seconds: by then the dispatcher has asked the node's gateway three times."""

NODES_NAMED_MAX = 20


_LOOKS_PER_SECOND = 10


def make_audit(reading: Reading, now_ns: int) -> Audit:
    """Return the findings; `now_ns` is the monotonic time of the reading."""
    table, dispatcher, gateways = reading.table, reading.dispatcher, reading.gateways
    differing = np.flatnonzero(table["audit_looks"] >= DIFFERING_LOOKS)
    oldest_ns = reading.oldest_job_ns
    return Audit(
        differing_nodes=len(differing),
        differing=[
            DifferingNode(
                _id(table, row),
                int(table["in_flight"][row]),
                int(table["held"][row]),
                int(table["audit_looks"][row]) / _LOOKS_PER_SECOND,
            )
            for row in _worst(differing, table, "audit_looks")
        ],
        slots_freed_total=dispatcher["audit_freed_total"],
        rows_rescored_total=dispatcher["audit_rescored_total"],
        attempts_dropped_total=gateways["attempts_dropped_total"],
        jobs_overdue_total=gateways["jobs_overdue_total"],
        oldest_job_ms=max(0, now_ns - oldest_ns) // 1_000_000 if oldest_ns else 0,
        righted=[
            RightedNode(_id(table, row), int(table["audit_freed_total"][row]))
            for row in _worst(
                np.flatnonzero(table["audit_freed_total"]), table, "audit_freed_total"
            )
        ],
    )


def _worst(rows: NDArray[Any], table: NodeColumns, name: str) -> list[int]:
    order = np.argsort(-table[name][rows], kind="stable")
    chosen: list[int] = rows[order][:NODES_NAMED_MAX].tolist()
    return chosen


def _id(table: NodeColumns, row: int) -> str:
    name: bytes = table["node_id"][row]
    return name.decode(errors="replace")
