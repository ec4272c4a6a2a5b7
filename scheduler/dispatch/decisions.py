"""The record of how nodes were chosen, for operators: the last decisions, in a ring.

What a record says beyond the choice itself costs passes over the scores, so they are recorded
only up to a budget between two refreshes, whatever the number of nodes; those beyond are counted.
At 1,000 nodes it is enough for about 2,500 placed jobs a second, at 1 % of the dispatcher's time.
"""

from typing import TYPE_CHECKING

import numpy as np

from scheduler.dispatch.counts import Counts
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.tables import Tables
from scheduler.memory.layout import DECISIONS_MAX
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.selection.columns import Int64s
from scheduler.selection.exclusions import Excluded
from scheduler.selection.scores import INFINITE, TURN_BITS, loads, turn_in

if TYPE_CHECKING:
    from scheduler.dispatch.jobs import Job
    from scheduler.dispatch.nodes import Node

BUDGET = 1_000_000
"""Between two refreshes, in rows looked at; about 1 ns each."""

_COST_FIXED = 2_000
_PASSES_PLACED = 2
_PASSES_SHADOW = 12
_PASSES_EXCLUSIONS = 20


class DecisionLog:
    """Writes the ring. A caller asks `has_budget` first, and counts where there is none."""

    def __init__(
        self, tables: Tables, placement: Placement, counts: Counts, shadow_strategy: str
    ) -> None:
        """`shadow_strategy` also scores what is recorded, "" for none."""
        self._nodes = tables.nodes
        self._columns = tables.decisions
        self._placement = placement
        self._counts = counts
        self._shadow_strategy = shadow_strategy
        # The next dispatcher goes on where this one stops.
        self._next = int(np.asarray(self._columns.sequence).max())
        self.budget = BUDGET

    def refresh(self) -> None:
        """Begin another interval."""
        self.budget = BUDGET

    def placed(self, job: "Job", node: "Node", outcome: Outcome, queued: int, now_ns: int) -> None:
        """Record that `job` is about to take a slot of `node`; `queued` jobs wait meanwhile."""
        placement, service_class = self._placement, job.service_class
        rows = len(service_class.view)
        self.budget -= _COST_FIXED + _PASSES_PLACED * rows
        runner_up = shadow = -1
        if job.paired == NO_NODE:
            refs = self._nodes.ref
            failed = [slot_of(ref) for ref in job.excluded if refs[slot_of(ref)] == ref]
            passed_over = [node.slot, *failed]
            runner_up = placement.choose(service_class, passed_over)
            if self._shadow_strategy and not job.excluded:
                self.budget -= _PASSES_SHADOW * rows
                shadow = self._choose_in_shadow(service_class.view, node.slot)
        columns, row = self._columns, self._begin(job, outcome, queued, now_ns)
        columns.node[row] = node.ref
        columns.load[row] = placement.load_of(node)
        columns.runner_up[row] = NO_NODE if runner_up < 0 else int(self._nodes.ref[runner_up])
        columns.runner_up_load[row] = (
            0 if runner_up < 0 else service_class.cells[runner_up] >> TURN_BITS
        )
        columns.shadow[row] = NO_NODE if shadow < 0 else int(self._nodes.ref[shadow])
        columns.eligible[row] = (
            int(np.count_nonzero(service_class.view != INFINITE)) if job.paired == NO_NODE else 1
        )
        columns.excluded[row] = 0
        self._end(row)

    def without_node(
        self, job: "Job", outcome: Outcome, excluded: Excluded, queued: int, now_ns: int
    ) -> None:
        """Record that there was no node for `job`."""
        self.budget -= _COST_FIXED + _PASSES_EXCLUSIONS * len(job.service_class.view)
        columns, row = self._columns, self._begin(job, outcome, queued, now_ns)
        columns.node[row] = columns.runner_up[row] = columns.shadow[row] = NO_NODE
        columns.load[row] = columns.runner_up_load[row] = columns.eligible[row] = 0
        columns.excluded[row] = excluded.counts
        self._end(row)

    def _choose_in_shadow(self, view: Int64s, chosen: int) -> int:
        """Return the slot that the other strategy takes: the chosen one where it is as good."""
        eligible = view != INFINITE
        load = np.where(
            eligible, loads(self._nodes, self._shadow_strategy, slice(0, len(view))), INFINITE
        )
        least = load.min()
        self._counts.shadow_compared_total += 1
        if load[chosen] == least:
            return chosen
        self._counts.shadow_differed_total += 1
        return int(np.where(load == least, turn_in(view), INFINITE).argmin())

    def _begin(self, job: "Job", outcome: Outcome, queued: int, now_ns: int) -> int:
        columns, row = self._columns, self._next % DECISIONS_MAX
        columns.sequence[row] = 0
        columns.time_ns[row] = now_ns
        columns.job[row] = job.key
        columns.attempt[row] = job.attempt
        columns.outcome[row] = outcome
        columns.class_index[row] = job.service_class.index
        columns.paired[row] = job.paired
        columns.queued[row] = queued
        return row

    def _end(self, row: int) -> None:
        self._next += 1
        self._columns.sequence[row] = self._next
        self._counts.decisions_recorded_total += 1
