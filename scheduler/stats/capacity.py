"""How many more jobs fit now, by what they require, and what blocks the next one."""

import msgspec
import numpy as np
from msgspec import Struct

from scheduler.config import SchedulerSettings
from scheduler.memory.layout import CLASSES, DISPATCHER_COUNTERS, SERVICES
from scheduler.memory.views import Views
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.requirements import requirement_of
from scheduler.selection.capacity import Room, retry_after_ms, room
from scheduler.selection.columns import NodeColumns, Words
from scheduler.selection.exclusions import reasons
from scheduler.selection.services import mask_of, services_by_requirement, words_of
from scheduler.stats.reading import services_of, texts

NO_NODES = "no_nodes"
"""What blocks a job where not one node is registered."""


class Blocked(Struct, frozen=True):
    """Nodes that one reason excludes, and the slots that they would have without it."""

    nodes: int
    slots: int


class ClassCapacity(Struct, frozen=True):
    """One class of jobs: those that need the same services.

    `fits_now` more jobs would be placed at once, on `eligible_nodes` nodes; `blocks_next` is what
    the one after them would wait for. `retry_after_ms` is what a job refused now is told.
    """

    services: list[str]
    fits_now: int
    eligible_nodes: int
    queued: int
    retry_after_ms: int
    blocks_next: str
    blocked: dict[str, Blocked]


class Capacity(Struct, frozen=True):
    """The classes that jobs have asked for so far, and the whole pipeline."""

    generated_at_ms: int
    queued: int
    classes: list[ClassCapacity]


class CapacityReader:
    """Looks at the node table as it is now."""

    def __init__(self, views: Views, settings: SchedulerSettings) -> None:
        self._views = views
        self._limits = settings.load_balancer
        self._whole = sorted(services_by_requirement(settings)[requirement_of(None, None)])

    def read(self, now_ms: int) -> Capacity:
        """Return the capacity; costs a pass over the node table for each class."""
        column = self._views.column
        nodes = NodeColumns(column)
        names = texts(column(SERVICES.name, "service_id"))
        found = [
            self._class(
                nodes,
                services_of(words, names),
                words,
                queued=int(column(CLASSES.name, "queued")[row]),
                told_ms=int(column(CLASSES.name, "retry_after_ms")[row]),
            )
            for row, words in self._active()
        ]
        if all(one.services != self._whole for one in found):
            found.insert(0, self._unused(nodes, names))
        queued = int(column(DISPATCHER_COUNTERS.name, "queued")[0])
        return Capacity(now_ms, queued, found)

    def _active(self) -> list[tuple[int, Words]]:
        column = self._views.column
        rows = np.flatnonzero(column(CLASSES.name, "active")).tolist()
        return [(row, column(CLASSES.name, "services")[row].copy()) for row in rows]

    def _unused(self, nodes: NodeColumns, names: list[str]) -> ClassCapacity:
        """Return the whole pipeline's capacity before the first job asks for it."""
        mask = mask_of(self._whole, names)
        # A service without a bit was never on any node; no node has all bits.
        words = words_of(mask if mask is not None else (1 << 256) - 1)
        return self._class(nodes, self._whole, words, queued=0, told_ms=0)

    def _class(
        self, nodes: NodeColumns, services: list[str], words: Words, *, queued: int, told_ms: int
    ) -> ClassCapacity:
        found = room(nodes, reasons(nodes, self._limits, words))
        members = found.eligible + found.blocked.get(Exclusion.FULL.value, (0, 0))[0]
        return ClassCapacity(
            services=services,
            fits_now=found.free_slots,
            eligible_nodes=found.eligible,
            queued=queued,
            retry_after_ms=told_ms
            or retry_after_ms(members=members, queued=queued, ended_per_second=0),
            blocks_next=_blocks_next(found),
            blocked={reason: Blocked(*counts) for reason, counts in found.blocked.items()},
        )


def _blocks_next(found: Room) -> str:
    """Return the reason that keeps most slots back; once all are taken, that they are."""
    if found.free_slots:
        return Exclusion.FULL.value
    if not found.blocked:
        return NO_NODES
    return max(found.blocked, key=lambda reason: (found.blocked[reason][1], found.blocked[reason]))


def capacity_json(reader: CapacityReader, now_ms: int) -> bytes:
    """Return the Capacity of this moment."""
    return msgspec.json.encode(reader.read(now_ms))
