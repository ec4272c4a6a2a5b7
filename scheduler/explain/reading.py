"""Looks at a running scheduler by its runtime folder alone; nothing is asked of any process."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from scheduler.config import Config
from scheduler.errors import LayoutError
from scheduler.memory.layout import CLASSES, DISPATCHER_COUNTERS, SERVICES
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.protocol.status import Status
from scheduler.selection.columns import Int64s, NodeColumns, Words
from scheduler.selection.scores import INFINITE, turn_in
from scheduler.selection.services import mask_of, services_by_requirement, words_of
from scheduler.stats.health import HealthReader, missing
from scheduler.stats.reading import texts
from scheduler.supervisor.runtime_dir import read_settings
from scheduler.top.reading import MEMORY_NAME

NOT_KNOWN = -1
"""Stands for a turn that no row of scores tells."""


@dataclass(frozen=True, slots=True)
class Running:
    """A scheduler that runs, and what it runs with."""

    segment: Segment
    config: Config

    @property
    def views(self) -> Views:
        """Its shared memory, read-only."""
        return self.segment.views

    def trouble(self, now_ns: int) -> str:
        """Return what keeps the dispatcher from placing jobs, "" where nothing does."""
        health = HealthReader(self.views, self.segment.dimensions.gateways)
        dispatcher = [one for one in health.read(now_ns) if one.role == "dispatcher"]
        return "; ".join(missing(dispatcher, snapshot_age_ns=0, refresh_seconds=1))


@contextmanager
def attach(runtime_dir: Path) -> Iterator[Running]:
    """Yield the scheduler that runs in the folder; raise LayoutError where none of ours does."""
    with closing(Segment.open(runtime_dir / MEMORY_NAME)) as segment:
        try:
            config = read_settings(runtime_dir)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LayoutError(
                f"{runtime_dir}: the scheduler's settings can't be read; is it of another version?"
            ) from error
        if config is None:
            raise LayoutError(f"{runtime_dir}: no settings; is the scheduler running?")
        yield Running(segment, config)


@dataclass(frozen=True, slots=True)
class Look:
    """Copies of all that a choice rests on, of one moment but for what changed meanwhile.

    `services` are those required, `untracked` those of them that the dispatcher doesn't look at,
    and `words` the bits of the others. `scores`, shape (nodes,), is the row of the class, None
    while no job has asked for it. `turns`, shape (nodes,), has NOT_KNOWN where no row tells it.
    `service_ids` has the service of each bit. Times are monotonic.
    """

    now_ns: int
    now_ms: int
    nodes: NodeColumns
    torn_rows: int
    services: list[str]
    untracked: list[str]
    words: Words
    service_ids: list[str]
    scores: Int64s | None
    turns: Int64s
    queued: int
    queued_total: int
    trouble: str


def look(running: Running, requirement: int) -> Look:
    """Return how things stand for jobs of a requirement."""
    views = running.views
    nodes, torn_rows = copy_nodes(views)
    # After the nodes: a service has its name before a node has its bit.
    service_ids = texts(views.column(SERVICES.name, "service_id"))
    services = sorted(services_by_requirement(running.config.scheduler)[requirement])
    # The dispatcher leaves out what has no bit (ServiceIndex.mask).
    tracked = [service for service in services if service in service_ids]
    words = words_of(mask_of(tracked, service_ids) or 0)
    active = np.flatnonzero(views.column(CLASSES.name, "active"))
    rows = views.scores()[active]
    own = np.flatnonzero((views.column(CLASSES.name, "services")[active] == words).all(axis=1))
    now_ns = time.monotonic_ns()
    return Look(
        now_ns=now_ns,
        now_ms=time.time_ns() // 1_000_000,
        nodes=nodes,
        torn_rows=torn_rows,
        services=services,
        untracked=sorted(set(services) - set(tracked)),
        words=words,
        service_ids=service_ids,
        scores=rows[own[0]] if own.size else None,
        turns=turns_of(rows),
        queued=int(views.column(CLASSES.name, "queued")[active[own]].sum()),
        queued_total=int(views.column(DISPATCHER_COUNTERS.name, "queued")[0]),
        trouble=running.trouble(now_ns),
    )


def copy_nodes(views: Views) -> tuple[NodeColumns, int]:
    """Copy the node table; rows that could not be read whole, the second value, stand as free."""
    columns, whole = views.copy_nodes()
    columns["status"][~whole] = Status.FREE
    return NodeColumns(lambda _block, name: columns[name]), int((~whole).sum())


def turns_of(scores: Int64s) -> Int64s:
    """Return when each node was last chosen, by the rows of scores that are kept.

    `scores` has shape (classes, nodes); a node's turn is the same in all classes that it serves.
    As long as there is no class, no node has been chosen: all turns are 0.
    """
    if not len(scores):
        return np.zeros(scores.shape[1], np.int64)
    turns: Int64s = np.where(scores == INFINITE, NOT_KNOWN, turn_in(scores)).max(axis=0)
    return turns
