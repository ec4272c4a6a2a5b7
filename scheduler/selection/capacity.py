"""How many more jobs of a class fit now, and when one that does not should be tried again."""

from typing import NamedTuple

import numpy as np

from scheduler.protocol.exclusions import Exclusion
from scheduler.selection.columns import NodeColumns
from scheduler.selection.exclusions import ELIGIBLE, REASONS, Reasons

RETRY_AFTER_MS_MIN, RETRY_AFTER_MS_MAX = 100, 5_000


class Room(NamedTuple):
    """What the nodes have for one class of jobs.

    `free_slots` are those of `eligible` nodes. `blocked` has for each exclusion reason the nodes
    that it is the first to exclude, and the slots that they would have without it.
    """

    free_slots: int
    eligible: int
    blocked: dict[str, tuple[int, int]]


def room(nodes: NodeColumns, found: Reasons) -> Room:
    """Return the room on the nodes, by their exclusion reasons, shape (rows,)."""
    known = nodes.usage_ref == nodes.ref
    taken = nodes.in_flight + nodes.external_jobs * known
    ejected = REASONS.index(Exclusion.EJECTED)
    withheld = np.where(found == ejected, 0, nodes.withheld)
    free = np.maximum(nodes.capacity - withheld - taken, 0)
    counted = found >= 0
    node_counts = np.bincount(found[counted], minlength=ELIGIBLE + 1).tolist()
    slot_counts = np.bincount(
        found[counted], weights=free[counted], minlength=ELIGIBLE + 1
    ).tolist()
    return Room(
        free_slots=int(slot_counts[ELIGIBLE]),
        eligible=node_counts[ELIGIBLE],
        blocked={
            reason.value: (node_counts[index], int(slot_counts[index]))
            for index, reason in enumerate(REASONS)
            if node_counts[index]
        },
    )


def retry_after_ms(*, members: int, queued: int, ended_per_second: int) -> int:
    """Return when a job that can't be placed now should be tried again.

    `members` nodes serve its class, `queued` jobs of it wait, and `ended_per_second` have ended
    lately. By Little's law the queue takes queued / ended seconds to empty; where no node serves
    the class, one has to come first, and asking often won't bring it.
    """
    if not members:
        return RETRY_AFTER_MS_MAX
    wait_ms = 1_000 * queued // max(1, ended_per_second)
    return min(max(wait_ms, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX)
