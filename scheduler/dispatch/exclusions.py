"""Why nodes can't take a job, as counts per reason: for metrics and refusals, not for placing.

To add a reason: a member of `Exclusion` (protocol/exclusions.py), in the order in which reasons
are looked at, and its condition in `look`.
"""

from dataclasses import dataclass

import numpy as np

from scheduler.config import LoadBalancerSettings
from scheduler.dispatch.tables import Int64s, Tables, Words
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.status import Status


@dataclass(frozen=True, slots=True)
class Excluded:
    """Nodes by reason: `reasons` has those that hold; the arrays have shape (reasons,).

    `samples` are references of one node each, NO_NODE where there is none.
    """

    reasons: dict[str, int]
    counts: Int64s
    samples: Int64s

    def count_into(self, tables: Tables) -> None:
        """Add to the totals that operators are shown."""
        tables.excluded_total += self.counts
        np.copyto(tables.excluded_sample, self.samples, where=self.samples != NO_NODE)


def look(
    tables: Tables,
    limits: LoadBalancerSettings,
    services: Words,
    failed: tuple[int, ...] = (),
    paired: int = NO_NODE,
) -> Excluded:
    """Return which nodes each reason excludes from a job that requires `services`.

    `services` has shape (SERVICE_WORDS,); `failed` are references of nodes that failed the job.
    Of a `paired` job only its node is looked at. One pass over the table.
    """
    nodes = tables.nodes
    rows = slice(None) if paired == NO_NODE else slice(slot_of(paired), slot_of(paired) + 1)
    known = nodes.usage_ref[rows] == nodes.ref[rows]
    conditions = {
        Exclusion.OFFLINE: nodes.status[rows] == Status.OFFLINE,
        Exclusion.PRIVATE: (nodes.public[rows] == 0) & (paired == NO_NODE),
        Exclusion.DRAINING: nodes.status[rows] == Status.DRAINING,
        Exclusion.NOT_READY: nodes.status[rows] != Status.READY,
        Exclusion.NOT_INSTALLED: ((nodes.installed[rows] & services) != services).any(axis=1),
        Exclusion.SERVICE_NOT_READY: ((nodes.ready[rows] & services) != services).any(axis=1),
        Exclusion.MODEL_NOT_AVAILABLE: ((nodes.marked[rows] & services) != 0).any(axis=1),
        Exclusion.FAILED_THIS_JOB: np.isin(nodes.ref[rows], failed),
        Exclusion.CPU_LIMIT: known & (nodes.cpu_percent[rows] > limits.cpu_limit),
        Exclusion.GPU_LIMIT: known & (nodes.gpu_percent[rows] > limits.gpu_limit),
        Exclusion.MEMORY_LIMIT: known & (nodes.memory_percent[rows] > limits.memory_limit),
        Exclusion.FULL: nodes.in_flight[rows] + nodes.external_jobs[rows] * known
        >= nodes.capacity[rows],
    }
    open_rows = nodes.status[rows] != Status.FREE
    counts = np.zeros(len(Exclusion), np.int64)
    samples = np.full(len(Exclusion), NO_NODE, np.int64)
    for index, reason in enumerate(Exclusion):
        excluded = open_rows & conditions[reason]
        counts[index] = np.count_nonzero(excluded)
        if counts[index]:
            samples[index] = nodes.ref[rows][excluded.argmax()]
        open_rows &= ~conditions[reason]
    reasons = {
        reason.value: count
        for reason, count in zip(Exclusion, counts.tolist(), strict=True)
        if count
    }
    return Excluded(reasons, counts, samples)
