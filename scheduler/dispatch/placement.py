"""Which node runs a job: ready-made scores, one row of them per requirement class.

What a score is made of stands in scheduler/selection/scores.py. A node that can't take a job of
the class scores INFINITE.

A row is updated only where a node changes, so choosing is one `argmin` over contiguous int64:
0.2 us at 1,000 nodes and 0.8 us at 10,000, against 1 us and 7 us for gathering a candidate
index first and 13 us and 31 us for recomputing eligibility (numpy 2.4, AVX-512). What that
costs is one store per class that the node serves; in use are few of the classes there could be,
so a row is kept only from the first job on that asks for its class.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from scheduler.dispatch.backlog import Backlog
from scheduler.dispatch.tables import Tables
from scheduler.selection.columns import Int64s
from scheduler.selection.scores import (
    INFINITE,
    LEAST_UTILIZATION,
    TURN_BITS,
    TURN_MASK,
    UTILIZATION_SCALE,
)
from scheduler.selection.services import words_of

if TYPE_CHECKING:
    from scheduler.dispatch.nodes import Node


class RequirementClass:
    """All jobs that need the same services; `mask` has the bits of those."""

    __slots__ = ("backlog", "cells", "index", "mask", "members", "row", "view")

    def __init__(self, index: int, mask: int, row: Int64s) -> None:
        self.index = index
        self.mask = mask
        self.row = row
        self.view = row[:1]
        # Storing through a memoryview takes 18 ns, through numpy 28 ns.
        self.cells = memoryview(row)  # type: ignore[arg-type]
        self.members = 0
        """Nodes that serve this class, whether or not they have a free slot now."""
        self.backlog = Backlog()


class Placement:
    """Keeps the rows of scores true and picks from them."""

    def __init__(self, tables: Tables, strategy: str) -> None:
        """`strategy` is the setting scheduler.load_balancer.strategy."""
        self._tables = tables
        self._by_utilization = strategy == LEAST_UTILIZATION
        self._by_mask: dict[int, RequirementClass] = {}
        self._high_water = 1
        self._turn = 0
        self._in_flight = memoryview(tables.nodes.in_flight)  # type: ignore[arg-type]
        tables.scores.fill(INFINITE)
        tables.class_active.fill(0)
        tables.class_queued.fill(0)

    @property
    def classes(self) -> Collection[RequirementClass]:
        """The classes now in use."""
        return self._by_mask.values()

    def class_of(self, mask: int, nodes: Iterable["Node"]) -> RequirementClass:
        """Return the class of a service mask; its first job brings it into use."""
        service_class = self._by_mask.get(mask)
        if service_class is None:
            index = len(self._by_mask)
            service_class = RequirementClass(index, mask, self._tables.scores[index])
            service_class.view = service_class.row[: self._high_water]
            self._by_mask[mask] = service_class
            self._tables.class_services[index] = words_of(mask)
            self._tables.class_active[index] = 1
            for node in nodes:
                if node.public and node.fits(mask):
                    service_class.members += 1
                    node.classes.append(service_class)
                    node.cells.append(service_class.cells)
                    self.rescore(node)
        return service_class

    def grow(self, rows: int) -> None:
        """Take the first `rows` rows of the node table into account."""
        if rows > self._high_water:
            self._high_water = rows
            for service_class in self._by_mask.values():
                service_class.view = service_class.row[:rows]

    def choose(self, service_class: RequirementClass, passed_over: Sequence[int] = ()) -> int:
        """Return the slot of the least loaded node, -1 where no node can take the job.

        `passed_over` are slots not to be chosen.
        """
        if not passed_over:
            best = int(service_class.view.argmin())
            return best if service_class.cells[best] != INFINITE else -1
        cells = service_class.cells
        hidden = [(slot, cells[slot]) for slot in passed_over]
        for slot, _ in hidden:
            cells[slot] = INFINITE
        best = int(service_class.view.argmin())
        found = cells[best] != INFINITE
        for slot, score in reversed(hidden):
            cells[slot] = score
        return best if found else -1

    def next_turn(self) -> int:
        """Return the turn of a node that was just chosen."""
        self._turn = turn = self._turn + 1 & TURN_MASK
        return turn

    def load_of(self, node: "Node") -> int:
        """Return the load that the node's score is made of."""
        load = len(node.jobs) + node.external_jobs
        return load * UTILIZATION_SCALE // node.capacity if self._by_utilization else load

    def rescore(self, node: "Node") -> None:
        """Write the node's in-flight count, and its score for the classes it serves."""
        slot = node.slot
        # load_of written out: a call less, twice for each job.
        self._in_flight[slot] = load = len(node.jobs)
        load += node.external_jobs
        if load >= node.capacity - node.withheld or node.over_limit:
            score = INFINITE
        else:
            if self._by_utilization:
                load = load * UTILIZATION_SCALE // node.capacity
            score = load << TURN_BITS | node.turn
        for cells in node.cells:
            cells[slot] = score

    def refit(self, node: "Node") -> None:
        """Work out anew which classes the node serves, after its services or status changed."""
        for service_class in node.classes:
            service_class.members -= 1
            service_class.cells[node.slot] = INFINITE
        node.classes = [
            service_class
            for service_class in self._by_mask.values()
            if node.public and node.fits(service_class.mask)
        ]
        node.cells = [service_class.cells for service_class in node.classes]
        for service_class in node.classes:
            service_class.members += 1
        self.rescore(node)
