"""The node table: who has a row, its life cycle, and what of it stands in shared memory."""

import heapq
from collections.abc import Iterator

from scheduler.dispatch.jobs import Job
from scheduler.dispatch.placement import RequirementClass
from scheduler.dispatch.tables import Tables
from scheduler.memory.layout import NAME_BYTES_MAX
from scheduler.protocol.ids import generation_of, node_ref, slot_of
from scheduler.protocol.records import RegisterNode
from scheduler.protocol.status import TRANSITIONS, Status
from scheduler.protocol.text import cut_utf8
from scheduler.selection.services import words_of

NOBODY = -1
"""Gateway of a node that is not connected."""


class Node:
    """A node with a row in the table.

    The generation in its reference counts the row's occupants, not sockets, so that a node that
    reconnects keeps its reference and its pairings.
    """

    __slots__ = (
        "capacity",
        "cells",
        "classes",
        "ejected_until_ns",
        "ejections",
        "external_jobs",
        "failures",
        "gateway",
        "installed",
        "jobs",
        "marked",
        "node_id",
        "over_limit",
        "public",
        "ready",
        "ref",
        "slot",
        "status",
        "status_since_ns",
        "turn",
        "withheld",
    )

    def __init__(self, slot: int, ref: int, node_id: str) -> None:
        self.slot = slot
        self.ref = ref
        self.node_id = node_id
        self.gateway = NOBODY
        self.status = Status.OFFLINE
        self.status_since_ns = 0
        self.capacity = 0
        self.public = False
        self.installed = 0
        self.ready = 0
        self.marked = 0
        """Services as bit masks; `marked` ones answered MODEL_NOT_AVAILABLE lately."""
        self.jobs: dict[int, Job] = {}
        """What runs here; in-flight is its length, so a slot can't be counted twice."""
        self.external_jobs = 0
        self.over_limit = False
        self.withheld = 0
        """Slots not given out: all while the node is ejected, fewer and fewer in slow start."""
        self.failures = 0
        """In a row, of those that are the node's own."""
        self.ejections = 0
        self.ejected_until_ns = 0
        self.turn = 0
        self.classes: list[RequirementClass] = []
        self.cells: list[memoryview] = []
        """Score cells of `classes`, kept apart because each job writes them."""

    def fits(self, mask: int) -> bool:
        """Whether the node can run jobs that require the services in `mask`."""
        return self.status == Status.READY and self.ready & ~self.marked & mask == mask

    def holds(self, key: int, attempt: int) -> bool:
        """Whether that attempt at that job runs here."""
        job = self.jobs.get(key)
        return job is not None and job.attempt == attempt

    def has_free_slot(self) -> bool:
        """Whether one more job may run here now."""
        free = self.capacity - self.withheld - len(self.jobs) - self.external_jobs
        return free > 0 and not self.over_limit

    def has_slot_for_paired(self) -> bool:
        """Whether one more job of a session paired with this node may run here now."""
        return len(self.jobs) + self.external_jobs < self.capacity and not self.over_limit


class NodeTable:
    """Rows by slot and by node id."""

    def __init__(self, tables: Tables) -> None:
        """Start from what `tables` holds.

        Rows that an earlier dispatcher left keep their nodes, offline until announced again.
        """
        self._columns = tables.nodes
        self._slots: list[Node | None] = [None] * len(tables.nodes.ref)
        self._by_id: dict[str, Node] = {}
        self._free: list[int] = []
        self._high_water = 0
        for slot in tables.nodes.status.nonzero()[0].tolist():
            self._restore(slot)
        # A row may be torn while it is still marked as free: no writer is left anywhere.
        tables.nodes.row_sequence += tables.nodes.row_sequence % 2
        self._free = [s for s in range(self._high_water) if self._slots[s] is None]

    def _restore(self, slot: int) -> None:
        columns = self._columns
        columns.in_flight[slot] = 0
        self._high_water = slot + 1
        node_id = columns.node_id[slot].decode(errors="replace")
        torn = columns.row_sequence[slot] % 2
        if torn or not node_id or node_id in self._by_id:
            columns.status[slot] = Status.FREE
            return
        node = Node(slot, int(columns.ref[slot]), node_id)
        self._slots[slot] = node
        self._by_id[node_id] = node
        columns.status[slot] = Status.OFFLINE
        columns.gateway[slot] = NOBODY
        columns.marked[slot] = 0
        columns.withheld[slot] = 0

    def __iter__(self) -> Iterator[Node]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def count_offline_from(self, now_ns: int) -> None:
        """Keep the restored rows for as long as if their nodes had gone offline now."""
        columns = self._columns
        columns.status_since_ns[columns.status == Status.OFFLINE] = now_ns

    @property
    def high_water(self) -> int:
        """Rows at and above it were never used."""
        return self._high_water

    def at(self, slot: int) -> Node:
        """Return the node in an occupied row."""
        node = self._slots[slot]
        assert node is not None
        return node

    def find(self, slot: int) -> Node | None:
        """Return the node in a row, None where the row is free."""
        return self._slots[slot]

    def by_ref(self, ref: int) -> Node | None:
        """Return the node that `ref` was given to, None where it has left the table."""
        node = self._slots[slot_of(ref)] if ref >= 0 else None
        return node if node is not None and node.ref == ref else None

    def by_id(self, node_id: str) -> Node | None:
        """Return the node of that id, connected or not."""
        return self._by_id.get(node_id)

    def place(self, node_id: str) -> Node | None:
        """Give a new node a row; None where the table is full."""
        slot = self._take_slot()
        if slot is None:
            return None
        generation = generation_of(int(self._columns.ref[slot])) + 1
        node = Node(slot, node_ref(slot, generation), node_id)
        self._slots[slot] = node
        self._by_id[node_id] = node
        columns = self._columns
        columns.model_missing_total[slot] = columns.model_rate_limited_total[slot] = 0
        columns.model_marked_total[slot] = columns.audit_freed_total[slot] = 0
        columns.ejections_total[slot] = columns.withheld[slot] = columns.drained[slot] = 0
        return node

    def _take_slot(self) -> int | None:
        # The lowest free row, so that the rows that argmin runs over stay few.
        if self._free:
            return heapq.heappop(self._free)
        if self._high_water == len(self._slots):
            return None
        self._high_water += 1
        return self._high_water - 1

    def forget(self, node: Node) -> None:
        """Free the row of an offline node."""
        assert node.status == Status.OFFLINE
        assert not node.jobs
        self._columns.status[node.slot] = Status.FREE
        self._slots[node.slot] = None
        del self._by_id[node.node_id]
        heapq.heappush(self._free, node.slot)

    def write_row(self, node: Node, record: RegisterNode, now_ns: int) -> None:
        """Write all that a registration says, guarded by the row's sequence."""
        columns, slot = self._columns, node.slot
        columns.row_sequence[slot] += 1
        columns.ref[slot] = node.ref
        columns.capacity[slot] = node.capacity
        columns.gateway[slot] = node.gateway
        columns.public[slot] = node.public
        columns.registered_ns[slot] = now_ns
        columns.cpu_cores[slot] = record.cpu_cores
        columns.memory_gb[slot] = record.memory_gb
        columns.gpus[slot] = record.gpus
        columns.gpu_memory_gb[slot] = record.gpu_memory_gb
        columns.node_id[slot] = node.node_id.encode()
        columns.name[slot] = cut_utf8(record.name, NAME_BYTES_MAX).encode()
        self.write_services(node)
        columns.row_sequence[slot] += 1

    def write_services(self, node: Node) -> None:
        """Write the node's service bitsets."""
        columns, slot = self._columns, node.slot
        columns.installed[slot] = words_of(node.installed)
        columns.ready[slot] = words_of(node.ready)
        columns.marked[slot] = words_of(node.marked)

    def set_status(self, node: Node, status: Status, now_ns: int) -> None:
        """Move the node along its life cycle; an illegal move is a bug of ours."""
        assert status in TRANSITIONS[node.status], (node.status, status)
        node.status = status
        node.status_since_ns = now_ns
        self._columns.status[node.slot] = status
        self._columns.status_since_ns[node.slot] = now_ns
        if status == Status.OFFLINE:
            node.gateway = NOBODY
            self._columns.gateway[node.slot] = NOBODY
