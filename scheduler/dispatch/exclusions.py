"""Why nodes can't take a job, as counts per reason: for metrics and refusals, not for placing.

To add a reason: a member of `Exclusion`, in the order in which reasons are looked at, and its
condition in `count`.
"""

from enum import StrEnum

import numpy as np

from scheduler.config import LoadBalancerSettings
from scheduler.dispatch.tables import Tables, Words
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.status import Status


class Exclusion(StrEnum):
    """Reasons; a node counts under the first that holds."""

    OFFLINE = "offline"
    PRIVATE = "private"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    NOT_INSTALLED = "service_not_installed"
    SERVICE_NOT_READY = "service_not_ready"
    MODEL_NOT_AVAILABLE = "model_not_available"
    FAILED_THIS_JOB = "failed_this_job"
    CPU_LIMIT = "cpu_over_limit"
    GPU_LIMIT = "gpu_over_limit"
    MEMORY_LIMIT = "memory_over_limit"
    FULL = "no_free_slot"


def count(
    tables: Tables,
    limits: LoadBalancerSettings,
    services: Words,
    failed: tuple[int, ...] = (),
    paired: int = NO_NODE,
) -> dict[str, int]:
    """Return how many nodes each reason excludes from a job that requires `services`.

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
    counts = {}
    for reason, holds in conditions.items():
        excluded = open_rows & holds
        total = int(np.count_nonzero(excluded))
        if total:
            counts[reason.value] = total
        open_rows &= ~holds
    return counts
