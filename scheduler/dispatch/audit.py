"""Recounts what the dispatcher keeps up to date step by step, and repairs what differs.

Leaked slots are the commonest fault of routers: a node looks busy that is idle. Two things are
held against each other, ten times a second and without a record as long as they agree:

- each node's in-flight count against the attempts that its gateway says were sent and still run.
  Records on their way make the two differ for a moment. Where they do so for a second, the
  gateway is asked about each attempt by name. Pipes keep order, so that its answer is exact: what
  it doesn't hold and hasn't told of is lost, and what it holds unasked nobody waits for.
  `audit_looks` shows for how long they have differed.
- count and scores in the tables against the core's own sets, a slice of the nodes each time.
"""

from scheduler.dispatch.counts import Counts
from scheduler.dispatch.nodes import NOBODY, NodeTable
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.tables import Tables
from scheduler.protocol.records import AuditNode, RunningAttempt, ToGateway
from scheduler.protocol.status import Status

ASK_AFTER_LOOKS = 10
"""And again after as many more, should they still differ."""

ASKED_PER_LOOK_MAX = 16
RECOUNTED_PER_LOOK = 256
RECOUNTED_SCORES_PER_LOOK = 2_048
"""Nodes and their scores looked at again: about 0.5 ms, however many classes there are."""


class LoadAudit:
    """Looks at each refresh."""

    def __init__(
        self,
        tables: Tables,
        table: NodeTable,
        placement: Placement,
        outbox: list[list[ToGateway]],
        counts: Counts,
    ) -> None:
        self._columns = tables.nodes
        self._table = table
        self._placement = placement
        self._outbox = outbox
        self._counts = counts
        self._next_recounted = 0

    def look(self) -> None:
        """Ask about nodes that differ for long, and recount some."""
        self._ask()
        self._recount()

    def _ask(self) -> None:
        rows = slice(0, self._table.high_water)
        columns, looks = self._columns, self._columns.audit_looks[rows]
        differing = columns.held[rows] != columns.in_flight[rows]
        differing &= columns.usage_ref[rows] == columns.ref[rows]
        differing &= columns.gateway[rows] != NOBODY
        differing &= columns.status[rows] != Status.FREE
        looks += 1
        looks *= differing
        due = ((looks > 0) & (looks % ASK_AFTER_LOOKS == 0)).nonzero()[0].tolist()
        for slot in due[:ASKED_PER_LOOK_MAX]:
            node = self._table.at(slot)
            self._counts.audits_total += 1
            attempts = [RunningAttempt(job.key, job.attempt) for job in node.jobs.values()]
            self._outbox[node.gateway].append(AuditNode(node.ref, attempts))

    def _recount(self) -> None:
        first = self._next_recounted
        by_scores = RECOUNTED_SCORES_PER_LOOK // max(1, len(self._placement.classes))
        last = first + max(1, min(RECOUNTED_PER_LOOK, by_scores))
        last = min(last, self._table.high_water)
        self._next_recounted = 0 if last == self._table.high_water else last
        in_flight = self._columns.in_flight
        for slot in range(first, last):
            node = self._table.find(slot)
            if node is None:
                continue
            shown = [in_flight[slot], *(cells[slot] for cells in node.cells)]
            self._placement.rescore(node)
            if shown != [in_flight[slot], *(cells[slot] for cells in node.cells)]:
                self._counts.audit_rescored_total += 1
