"""A real segment, filled column by column as the dispatcher and the gateways would."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scheduler.memory.layout import SERVICES_MAX, Dimensions
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.protocol.ids import node_ref
from scheduler.protocol.status import Status

EPOCH = "0123abcd"
STARTED_NS = 1_000_000_000
DIMENSIONS = Dimensions(gateways=2, nodes=8, sessions_per_gateway=4, classes=1)


class World:
    """The writers' side of a segment."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.views: Views = segment.views
        self.services: list[str] = []

    def reader_views(self) -> Views:
        """Return what a reader gets: a mapping of its own that it can't write."""
        return Segment.attach(self.segment.fd, writable=False).views

    def put(self, block: str, row: int, **values: Any) -> None:
        for name, value in values.items():
            self.views.column(block, name)[row] = value

    def add_service(self, service_id: str) -> None:
        assert len(self.services) < SERVICES_MAX
        self.put("services", len(self.services), service_id=service_id.encode())
        self.services.append(service_id)

    def put_node(
        self,
        slot: int,
        node_id: str,
        *,
        status: Status = Status.READY,
        installed: tuple[str, ...] = (),
        ready: tuple[str, ...] = (),
        **values: Any,
    ) -> None:
        """Write a row as a registration and a heartbeat do."""
        ref = node_ref(slot, 1)
        defaults = {"ref": ref, "usage_ref": ref, "status": status, "node_id": node_id.encode()}
        self.put("nodes", slot, **(defaults | values))
        for column, names in (("installed", installed), ("ready", ready)):
            words = self.views.column("nodes", column)[slot]
            words[:] = 0
            for name in names:
                word, bit = divmod(self.services.index(name), 64)
                words[word] |= 1 << bit

    def open_session(self, row: int, source: str, target: str, *, two_way: bool = False) -> None:
        self.put(
            "sessions",
            row,
            open=1,
            source=source.encode(),
            target=target.encode(),
            two_way=int(two_way),
        )

    def count(self, gateway: int, **values: int) -> None:
        self.put("gateway_counters", gateway, **values)

    def beat(self, row: int, *, pid: int = 4_242, now_ns: int | None = None) -> None:
        """Show a process as alive and serving."""
        self.put("processes", row, pid=pid)
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        self.put("pulses", row, heartbeat_ns=now_ns, ready=1)


@contextmanager
def make_world(dimensions: Dimensions = DIMENSIONS) -> Iterator[World]:
    segment = Segment.create(dimensions, epoch=EPOCH, started_ms=1, started_ns=STARTED_NS)
    try:
        yield World(segment)
    finally:
        segment.close()
