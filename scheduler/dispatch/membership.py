"""Which nodes there are: registration, health, loss, drain, and what their figures exclude."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scheduler.config import Config
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.nodes import NOBODY, Node, NodeTable
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.services import ServiceIndex
from scheduler.dispatch.settings import NS_PER_SECOND, Deadlines
from scheduler.dispatch.tables import Tables
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.records import (
    DrainNode,
    DrainRequested,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    NodeServices,
    NodeStatusChanged,
    RegisterNode,
    RunningAttempt,
    ToGateway,
)
from scheduler.protocol.status import Status

_RETURN_NS = 10 * NS_PER_SECOND
"""A node that is offline keeps its row for so long at least: that is, longer than a dispatcher that
takes over waits for nodes to be announced."""


class Membership:
    """Decides each node's status. What follows for jobs is the callbacks' business."""

    def __init__(
        self,
        config: Config,
        tables: Tables,
        table: NodeTable,
        services: ServiceIndex,
        placement: Placement,
        outbox: list[list[ToGateway]],
        counts: Counts,
        on_changed: Callable[[Node, int], None],
        on_free: Callable[[Node, int], None],
        on_lost: Callable[[Node, int], None],
        on_forgotten: Callable[[Node], None],
        grant: Callable[[Node, list[RunningAttempt], int], list[RunningAttempt]],
        note: Callable[[str, str], None],
    ) -> None:
        """What follows for jobs, as callbacks of (node, now_ns).

        `on_changed`: its services did; `on_free`: it may have room; `on_lost`: its jobs are lost;
        `on_forgotten(node)`: it left the table. `grant(node, claims, now_ns)` returns the attempts
        with which a node may go on, of those that it says it works on. `note(kind, text)` keeps
        events for operators.
        """
        self._limits = config.scheduler.load_balancer
        self._deadlines = Deadlines.of(config)
        self._services = services
        self._placement = placement
        self._outbox = outbox
        self._counts = counts
        self._on_changed = on_changed
        self._on_free = on_free
        self._on_lost = on_lost
        self._on_forgotten = on_forgotten
        self._grant = grant
        self._note = note
        self._columns = tables.nodes
        self._table = table
        self._placement.grow(self._table.high_water)
        rows = len(tables.nodes.ref)
        self._external_seen = np.zeros(rows, np.int64)
        self._over_seen = np.zeros(rows, np.bool_)

    def register(self, gateway: int, record: RegisterNode, now_ns: int) -> Node | None:
        """Give the node its row, its old one where it has one; None: it was refused."""
        node = self._table.by_id(record.node_id)
        if node is not None and node.status != Status.OFFLINE:
            self._refuse(
                gateway,
                record,
                ErrorCode.NODE_ID_CONFLICT,
                f"a connected node already has the id {record.node_id}; use another, or none",
            )
            return None
        if node is None:
            node = self._place(record.node_id, now_ns)
            if node is None:
                self._refuse(
                    gateway,
                    record,
                    ErrorCode.SERVER_BUSY,
                    "the node table is full (limits.nodes_max); try again later",
                )
                return None
            # What was seen of the row's last occupant says nothing about this one.
            self._external_seen[node.slot] = 0
            self._over_seen[node.slot] = False
        node.gateway = gateway
        node.capacity = record.capacity
        node.public = record.accept_public
        node.installed = self._services.mask(record.installed)
        node.ready = self._services.mask(record.ready)
        self._placement.grow(self._table.high_water)
        self._table.write_row(node, record, now_ns)
        self._counts.nodes_registered_total += 1
        self._move(node, Status.REGISTERING, now_ns)
        granted = [] if record.announced else self._grant(node, record.running, now_ns)
        self._outbox[gateway].append(NodeAccepted(record.conn, node.ref, granted))
        if record.status != Status.REGISTERING:  # announced again: it goes on as it was
            self._move(node, Status(record.status), now_ns)
        if node.status == Status.DRAINING:
            self._columns.drained[node.slot] = True
        elif self._columns.drained[node.slot]:
            self._drain(node, "it was drained before", now_ns)
        return node

    def _place(self, node_id: str, now_ns: int) -> Node | None:
        """Give a new node a row, if need be that of the node that is offline for longest."""
        node = self._table.place(node_id)
        if node is None:
            columns = self._columns
            offline = (columns.status == Status.OFFLINE).nonzero()[0]
            since_ns = columns.status_since_ns[offline]
            if len(offline) and since_ns.min() <= now_ns - _RETURN_NS:
                self._forget(self._table.at(int(offline[since_ns.argmin()])))
                node = self._table.place(node_id)
        return node

    def _refuse(self, gateway: int, record: RegisterNode, code: ErrorCode, text: str) -> None:
        self._counts.nodes_refused_total += 1
        self._note("node", f"{record.node_id} refused: {code}")
        self._outbox[gateway].append(NodeRefused(record.conn, code, text))

    def is_connected(self, node_id: str) -> bool:
        """Whether a node of that id has a connection."""
        node = self._table.by_id(node_id)
        return node is not None and node.gateway != NOBODY

    def connected(self, gateway: int, ref: int) -> Node | None:
        """Return the node of that reference if `gateway` holds its socket."""
        node = self._table.by_ref(ref)
        return node if node is not None and node.gateway == gateway else None

    def change_services(self, gateway: int, record: NodeServices, now_ns: int) -> None:
        """Take over the node's installed and ready services."""
        node = self.connected(gateway, record.node)
        if node is None:
            return
        node.installed = self._services.mask(record.installed)
        node.ready = self._services.mask(record.ready)
        self._on_changed(node, now_ns)

    def change_health(self, gateway: int, record: NodeHealth, now_ns: int) -> None:
        """Follow what the node's heartbeats say of it."""
        node = self.connected(gateway, record.node)
        if node is None:
            return
        if record.healthy and node.status in {Status.REGISTERING, Status.DEGRADED}:
            # Now rather than at the next refresh: jobs may wait for a node that is overloaded.
            row = slice(node.slot, node.slot + 1)
            known = self._columns.usage_ref[row] == node.ref
            self._follow_usage(row, known, now_ns)
            self._change(node, Status.READY, record.reason, now_ns)
        elif not record.healthy and node.status == Status.READY:
            self._change(node, Status.DEGRADED, record.reason, now_ns)

    def drain(self, _: int, record: DrainNode, now_ns: int) -> None:
        """Give the node no more jobs, or let it prove its health for jobs again.

        A drained one is so when it comes back, too, until it is resumed or forgotten.
        """
        node = self._table.by_ref(record.node)
        if node is None or node.gateway == NOBODY:
            return
        if record.on and node.status != Status.DRAINING:
            self._drain(node, record.reason, now_ns)
        elif not record.on and node.status == Status.DRAINING:
            self._columns.drained[node.slot] = False
            self._change(node, Status.REGISTERING, record.reason, now_ns)
            self._outbox[node.gateway].append(DrainRequested(node.ref, "resume", record.reason))

    def _drain(self, node: Node, reason: str, now_ns: int) -> None:
        self._columns.drained[node.slot] = True
        self._change(node, Status.DRAINING, reason, now_ns)
        self._outbox[node.gateway].append(DrainRequested(node.ref, "drain", reason))

    def lose(self, gateway: int, record: NodeGone, now_ns: int) -> None:
        """The node's socket closed; its gateway need not be told."""
        node = self.connected(gateway, record.node)
        if node is not None:
            self._take_offline(node, now_ns)

    def lose_gateway(self, gateway: int, now_ns: int) -> list[Node]:
        """The gateway is gone: take its nodes offline and return them, their jobs still on them."""
        lost = [node for node in self._table if node.gateway == gateway]
        for node in lost:
            self._move(node, Status.OFFLINE, now_ns)
        return lost

    def _take_offline(self, node: Node, now_ns: int) -> None:
        self._move(node, Status.OFFLINE, now_ns)
        self._on_lost(node, now_ns)

    def _change(self, node: Node, status: Status, reason: str, now_ns: int) -> None:
        self._outbox[node.gateway].append(NodeStatusChanged(node.ref, status, reason))
        self._move(node, status, now_ns)

    def _move(self, node: Node, status: Status, now_ns: int) -> None:
        self._note("node", f"{node.node_id} {node.status.wire} to {status.wire}")
        self._table.set_status(node, status, now_ns)
        self._placement.refit(node)
        if status == Status.READY:
            self._on_free(node, now_ns)

    def refresh(self, now_ns: int) -> None:
        """Look at all rows' figures in one pass."""
        rows = slice(0, self._table.high_water)
        columns = self._columns
        status = columns.status[rows]
        known = columns.usage_ref[rows] == columns.ref[rows]
        self._follow_usage(rows, known, now_ns)
        beat_ns = np.maximum(columns.heartbeat_ns[rows] * known, columns.registered_ns[rows])
        connected = (status != Status.FREE) & (status != Status.OFFLINE)
        since_ns = columns.status_since_ns[rows]
        deadlines = self._deadlines
        silent = connected & (beat_ns < now_ns - deadlines.heartbeat_ns)
        cold = ~silent & (status == Status.REGISTERING)
        cold &= since_ns < now_ns - deadlines.warmup_ns
        gone = (status == Status.OFFLINE) & (since_ns < now_ns - deadlines.forget_ns)
        for slot in gone.nonzero()[0].tolist():
            self._forget(self._table.at(slot))
        reason = f"no heartbeat for {deadlines.heartbeat_ns // 10**9} s"
        lost = [self._table.at(slot) for slot in silent.nonzero()[0].tolist()]
        for node in lost:  # all of them first, so that no job fails over to another of them
            self._change(node, Status.OFFLINE, reason, now_ns)
        for node in lost:
            self._on_lost(node, now_ns)
        for slot in cold.nonzero()[0].tolist():
            reason = f"not healthy within {deadlines.warmup_ns // 10**9} s"
            self._change(self._table.at(slot), Status.DEGRADED, reason, now_ns)

    def _forget(self, node: Node) -> None:
        self._note("node", f"{node.node_id} forgotten")
        self._table.forget(node)
        self._on_forgotten(node)

    def _follow_usage(self, rows: slice, known: NDArray[np.bool_], now_ns: int) -> None:
        columns, limits = self._columns, self._limits
        external = columns.external_jobs[rows] * known
        over = known & (
            (columns.cpu_percent[rows] > limits.cpu_limit)
            | (columns.gpu_percent[rows] > limits.gpu_limit)
            | (columns.memory_percent[rows] > limits.memory_limit)
        )
        changed = (external != self._external_seen[rows]) | (over != self._over_seen[rows])
        self._external_seen[rows] = external
        self._over_seen[rows] = over
        for row in changed.nonzero()[0].tolist():
            slot = rows.start + row
            if columns.status[slot] == Status.FREE:
                continue
            node = self._table.at(slot)
            node.external_jobs = int(external[row])
            node.over_limit = bool(over[row])
            self._placement.rescore(node)
            self._on_free(node, now_ns)
