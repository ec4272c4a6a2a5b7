"""How nodes were chosen for jobs, from the dispatcher's record: the structs that are shown."""

import time
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from scheduler import __version__
from scheduler.explain.reading import Running
from scheduler.memory.decisions import Decision, NodeLabel, node_labels, read_decisions
from scheduler.memory.layout import CLASSES, DISPATCHER_COUNTERS, DISPATCHER_ROW, SERVICES
from scheduler.memory.views import Views
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import NO_NODE, wire_job_id
from scheduler.stats.reading import texts

FOUND = {Outcome.PLACED, Outcome.SERVED}
"""Outcomes with a node."""


class NodeName(Struct, frozen=True):
    """A node that a decision names; both are null where its row belongs to another node now."""

    node_id: str | None
    name: str | None


class PastDecision(Struct, frozen=True):
    """One look for a node.

    `attempt` is the one that it was for. `outcome` is an Outcome in lower case. `services` is
    null where an earlier dispatcher decided, whose classes aren't known any more. Loads are by the
    strategy, before this job. `shadow` is what the shadow strategy would have chosen, null where
    it wasn't asked. `excluded` counts nodes by reason, where none was found.
    """

    number: int
    at_ms: int
    job_id: str
    attempt: int
    outcome: str
    services: list[str] | None
    paired: NodeName | None
    node: NodeName | None
    load: int | None
    runner_up: NodeName | None
    runner_up_load: int | None
    shadow: NodeName | None
    eligible: int
    queued: int
    excluded: dict[str, int]


class Record(Struct, frozen=True):
    """What is recorded, and what is not: totals over all dispatchers of this run.

    `oldest_at_ms` is when the oldest decision was made that has not been overwritten, null where
    there is none.
    """

    recorded_total: int
    unrecorded_total: int
    oldest_at_ms: int | None


class History(Struct, frozen=True):
    """Decisions, oldest first. `job_id` is null where they are not of one job alone."""

    version: str
    epoch: str
    at_ms: int
    strategy: str
    shadow_strategy: str
    job_id: str | None
    record: Record
    decisions: list[PastDecision]


def make_history(running: Running, decisions: list[Decision], job_id: str | None = None) -> History:
    """Put names to what was read from the ring."""
    views, epoch = running.views, running.segment.epoch
    at_ms = time.time_ns() // 1_000_000
    ms_of = _clock()
    refs = {ref for one in decisions for ref in (one.paired, one.node, one.runner_up, one.shadow)}
    names = {ref: _name(label) for ref, label in node_labels(views, refs).items()}
    classes = services_of_classes(views)
    known_since_ns = int(views.column("processes", "started_ns")[DISPATCHER_ROW])
    balance = running.config.scheduler.load_balancer
    return History(
        version=__version__,
        epoch=epoch,
        at_ms=at_ms,
        strategy=balance.strategy,
        shadow_strategy=balance.shadow_strategy,
        job_id=job_id,
        record=read_record(views),
        decisions=[
            PastDecision(
                number=one.number,
                at_ms=ms_of(one.time_ns),
                job_id=wire_job_id(epoch, one.job),
                attempt=one.attempt + (one.outcome not in FOUND),
                outcome=one.outcome.name.lower(),
                services=classes[one.class_index] if one.time_ns >= known_since_ns else None,
                paired=names.get(one.paired),
                node=names.get(one.node),
                load=one.load if one.node != NO_NODE else None,
                runner_up=names.get(one.runner_up),
                runner_up_load=one.runner_up_load if one.runner_up != NO_NODE else None,
                shadow=names.get(one.shadow),
                eligible=one.eligible,
                queued=one.queued,
                excluded=one.excluded,
            )
            for one in decisions
        ],
    )


def read_record(views: Views) -> Record:
    """Return how much of what was decided is still recorded."""
    recorded, unrecorded = (
        int(views.column(DISPATCHER_COUNTERS.name, name)[0])
        for name in ("decisions_recorded_total", "decisions_unrecorded_total")
    )
    oldest = read_decisions(views)[:1]
    return Record(recorded, unrecorded, _clock()(oldest[0].time_ns) if oldest else None)


def services_of_classes(views: Views) -> list[list[str]]:
    """Return the services that each class of the present dispatcher needs, sorted."""
    words = views.column(CLASSES.name, "services")
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    names = texts(views.column(SERVICES.name, "service_id"))
    return [sorted(names[bit] for bit in np.flatnonzero(row).tolist()) for row in bits]


def _name(label: NodeLabel | None) -> NodeName:
    return NodeName(*label) if label is not None else NodeName(None, None)


def _clock() -> Callable[[int], int]:
    """Return what turns a monotonic time in ns into ms since the epoch, by the clocks of now."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    return lambda time_ns: (time_ns + offset_ns) // 1_000_000
