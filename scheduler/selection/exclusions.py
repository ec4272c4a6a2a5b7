"""Why nodes can't take a job: for metrics, refusals and operators, not for placing.

To add a reason: a member of `Exclusion` (protocol/exclusions.py), in the order in which reasons
are looked at, and its condition in `reasons`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.config import LoadBalancerSettings
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.status import Status
from scheduler.selection.columns import Int64s, NodeColumns, Words

REASONS = tuple(Exclusion)
ELIGIBLE = len(REASONS)
"""Stands where no reason holds: the node may have the job."""

NO_ROW = -1
"""Stands where no node is looked at: in free rows."""

Reasons = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Excluded:
    """Nodes by reason: `reasons` has those that hold; `counts` has shape (reasons,).

    `samples` are references of up to SAMPLES_MAX nodes for the index of each reason that holds.
    """

    reasons: dict[str, int]
    counts: Int64s
    samples: dict[int, list[int]]


def reasons(
    nodes: NodeColumns,
    limits: LoadBalancerSettings,
    services: Words,
    failed: tuple[int, ...] = (),
    paired: int = NO_NODE,
) -> Reasons:
    """Return for each row the first reason that excludes it, as an index into REASONS.

    Shape (rows,), int64; ELIGIBLE where none does, NO_ROW in free rows. `services`, shape
    (SERVICE_WORDS,), are those required; `failed` are references of nodes that failed the job. Of
    a `paired` job only its node's row is returned. One pass over the table.
    """
    rows = slice(None) if paired == NO_NODE else slice(slot_of(paired), slot_of(paired) + 1)
    known = nodes.usage_ref[rows] == nodes.ref[rows]
    status = nodes.status[rows]
    # A session that is paired with a node is not kept from it.
    withheld = nodes.withheld[rows] * (paired == NO_NODE)
    capacity = nodes.capacity[rows]
    conditions = {
        Exclusion.OFFLINE: status == Status.OFFLINE,
        Exclusion.PRIVATE: (nodes.public[rows] == 0) & (paired == NO_NODE),
        Exclusion.DRAINING: status == Status.DRAINING,
        Exclusion.NOT_READY: status != Status.READY,
        Exclusion.NOT_INSTALLED: ((nodes.installed[rows] & services) != services).any(axis=1),
        Exclusion.SERVICE_NOT_READY: ((nodes.ready[rows] & services) != services).any(axis=1),
        Exclusion.MODEL_NOT_AVAILABLE: ((nodes.marked[rows] & services) != 0).any(axis=1),
        Exclusion.FAILED_THIS_JOB: np.isin(nodes.ref[rows], failed),
        Exclusion.CPU_LIMIT: known & (nodes.cpu_percent[rows] > limits.cpu_limit),
        Exclusion.GPU_LIMIT: known & (nodes.gpu_percent[rows] > limits.gpu_limit),
        Exclusion.MEMORY_LIMIT: known & (nodes.memory_percent[rows] > limits.memory_limit),
        Exclusion.EJECTED: (withheld > 0) & (withheld >= capacity),
        Exclusion.FULL: nodes.in_flight[rows] + nodes.external_jobs[rows] * known
        >= capacity - withheld,
    }
    found = np.full(len(status), ELIGIBLE, np.int64)
    # Backwards, so that the first reason is what stays.
    for index in reversed(range(len(REASONS))):
        found[conditions[REASONS[index]]] = index
    found[status == Status.FREE] = NO_ROW
    return found


def look(
    nodes: NodeColumns,
    limits: LoadBalancerSettings,
    services: Words,
    failed: tuple[int, ...] = (),
    paired: int = NO_NODE,
) -> Excluded:
    """Return which nodes each reason excludes; the arguments are those of `reasons`."""
    found = reasons(nodes, limits, services, failed, paired)
    first_row = 0 if paired == NO_NODE else slot_of(paired)
    counts = np.bincount(found[found >= 0], minlength=ELIGIBLE + 1)[:ELIGIBLE].astype(np.int64)
    by_reason, samples = {}, {}
    for index in counts.nonzero()[0].tolist():
        by_reason[REASONS[index].value] = int(counts[index])
        rows = first_row + np.flatnonzero(found == index)[:SAMPLES_MAX]
        samples[index] = nodes.ref[rows].tolist()
    return Excluded(by_reason, counts, samples)
