"""Who would get a job: what the dispatcher's rules say of each node, in arrays. Pure.

Where the class of the job is in use, its row of scores is what the dispatcher goes by, and so the
choice here (dispatch/placement.py); the reasons explain it. Where it is not, and for a paired job,
both follow from the node table, as the dispatcher would work them out for the first such job.
"""

from dataclasses import dataclass

import numpy as np

from scheduler.config import LoadBalancerSettings
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.selection.columns import Int64s, NodeColumns, Words
from scheduler.selection.exclusions import ELIGIBLE, NO_ROW, REASONS, Reasons, reasons
from scheduler.selection.scores import INFINITE, load_in, loads

JUST_CHANGED = ELIGIBLE + 1
"""Stands where no reason holds and yet the score is INFINITE: the two are of different moments."""

REASON_NAMES = (*(reason.value for reason in REASONS), "", "just_changed")
"""What each number in `Verdicts.found` but NO_ROW stands for; "": the node may have the job."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is said of each row of the node table; arrays of shape (rows,), int64.

    `found` is an index into REASON_NAMES, NO_ROW for rows that are free or not asked about.
    `order` has the other rows: those that may have the job, first choice first, then the rest,
    those nearest to it first. `unsettled` counts the rows whose score and figures disagree.
    """

    found: Reasons
    load: Int64s
    turn: Int64s
    order: Int64s
    eligible: int
    unsettled: int


def judge(
    nodes: NodeColumns,
    balance: LoadBalancerSettings,
    services: Words,
    *,
    turns: Int64s,
    scores: Int64s | None = None,
    paired: int = NO_NODE,
) -> Verdicts:
    """Judge every node for a job that needs `services`, shape (SERVICE_WORDS,).

    `scores`, shape (rows,), is the row of the class, None where there is none; `turns`, shape
    (rows,), may be negative where one is not known. Of a `paired` job only its node is judged.
    """
    load = loads(nodes, balance.strategy)
    unsettled = 0
    if paired != NO_NODE:
        found = np.full(len(load), NO_ROW, np.int64)
        row = slice(slot_of(paired), slot_of(paired) + 1)
        found[row] = reasons(nodes, balance, services, paired=paired)
    else:
        found = reasons(nodes, balance, services)
        if scores is not None:
            free = found == NO_ROW
            finite = scores != INFINITE
            unsettled = int((~free & (finite != (found == ELIGIBLE))).sum())
            found[~finite & (found == ELIGIBLE)] = JUST_CHANGED
            found[finite & ~free] = ELIGIBLE
            load = np.where(finite, load_in(scores), load)
    return Verdicts(
        found=found,
        load=load,
        turn=turns,
        order=_order(found, load, turns),
        eligible=int((found == ELIGIBLE).sum()),
        unsettled=unsettled,
    )


def _order(found: Reasons, load: Int64s, turns: Int64s) -> Int64s:
    rows = np.flatnonzero(found != NO_ROW)
    # Reasons are looked at in their order: a node that only the last one excludes is nearest.
    standing = np.where(found == ELIGIBLE, len(REASON_NAMES), found)[rows]
    # A stable sort: of equals the first row is taken, as argmin does.
    order: Int64s = rows[np.lexsort((np.maximum(turns, 0)[rows], load[rows], -standing))]
    return order
