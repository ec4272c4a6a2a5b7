"""Reads the ring of the dispatcher's last looks for a node, as tools of all kinds need it.

scheduler/dispatch/decisions.py writes it; each column is described in scheduler/memory/layout.py.
Decisions beyond its budget are counted (`decisions_unrecorded_total`) and not recorded: a job need
not have a record.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from scheduler.memory.layout import DECISIONS, NODES
from scheduler.memory.views import Views
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import slot_of

_READ_TRIES_MAX = 16
_REASONS = tuple(reason.value for reason in Exclusion)


class Decision(Struct, frozen=True):
    """One look for a node.

    `number` counts decisions from 0 on, over all dispatchers of a run; `time_ns` is monotonic.
    `job` is a key; `paired`, `node`, `runner_up` and `shadow` are node references, NO_NODE where
    there is none (scheduler/protocol/ids.py). `attempt` is the one begun, or the last before
    where no node was found. Loads are by the strategy, before this job. `class_index` is a row of
    the block `classes` as the dispatcher of that time had it. `excluded` counts nodes by the
    values of `Exclusion`, without zeros, and is empty where a node was found.
    """

    number: int
    time_ns: int
    job: int
    attempt: int
    outcome: Outcome
    class_index: int
    paired: int
    node: int
    load: int
    runner_up: int
    runner_up_load: int
    shadow: int
    eligible: int
    queued: int
    excluded: dict[str, int]


class NodeLabel(NamedTuple):
    """What people know a node by."""

    node_id: str
    name: str


def read_decisions(
    views: Views, *, job: int | None = None, last: int | None = None
) -> list[Decision]:
    """Return the decisions in the ring, oldest first, without one that is just being written.

    With `job` only those about the job of that key; with `last` at most so many, the latest.
    """
    columns = {
        column.name: views.column(DECISIONS.name, column.name) for column in DECISIONS.columns
    }
    sequence = columns.pop("sequence")
    before = sequence.copy()
    wanted = before > 0 if job is None else (before > 0) & (columns["job"] == job)
    rows = np.flatnonzero(wanted)
    copied = {name: column[rows] for name, column in columns.items()}
    whole = np.flatnonzero(sequence[rows] == before[rows])
    latest = whole[np.argsort(before[rows[whole]])]
    if last is not None:
        latest = latest[max(0, len(latest) - last) :]
    excluded = copied.pop("excluded")[latest].tolist()
    fields = {name: values[latest].tolist() for name, values in copied.items()}
    fields["number"] = (before[rows[latest]] - 1).tolist()
    fields["outcome"] = [Outcome(value) for value in fields["outcome"]]
    fields["excluded"] = [_by_reason(counts) for counts in excluded]
    ordered = (fields[name] for name in Decision.__struct_fields__)
    return [Decision(*values) for values in zip(*ordered, strict=True)]


def _by_reason(counts: list[int]) -> dict[str, int]:
    return {reason: count for reason, count in zip(_REASONS, counts, strict=True) if count}


def node_labels(views: Views, refs: Iterable[int]) -> dict[int, NodeLabel | None]:
    """Return the node of each reference, None where it is gone: its row belongs to another now.

    References that stand for no node are left out. A node that has left the table is still known
    as long as no other has taken its row.
    """
    wanted = sorted({ref for ref in refs if ref >= 0})
    slots = np.array([slot_of(ref) for ref in wanted], np.intp)
    columns = [views.column(NODES.name, name) for name in ("ref", "node_id", "name")]
    sequence = views.column(NODES.name, "row_sequence")
    for _ in range(_READ_TRIES_MAX):
        before = sequence[slots]
        ref, node_id, name = (column[slots] for column in columns)
        whole = (before == sequence[slots]) & (before % 2 == 0)
        if whole.all():
            break
    here = (whole & (ref == wanted)).tolist()
    labels = [
        NodeLabel(one.decode(errors="replace"), other.decode(errors="replace"))
        for one, other in zip(node_id.tolist(), name.tolist(), strict=True)
    ]
    return {
        ref: label if is_here else None
        for ref, label, is_here in zip(wanted, labels, here, strict=True)
    }
