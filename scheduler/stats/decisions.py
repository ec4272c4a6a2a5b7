"""How nodes were chosen lately, told with the names that people know."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from scheduler.memory.decisions import Decision, NodeLabel, node_labels, read_decisions
from scheduler.memory.layout import CLASSES, SERVICES
from scheduler.memory.views import Views
from scheduler.protocol.ids import parse_wire_job_id, wire_job_id
from scheduler.selection.scores import LEAST_UTILIZATION, UTILIZATION_SCALE
from scheduler.stats.reading import services_of, texts
from scheduler.stats.responses import Prepared, problem

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000

_DECIMALS = 4

GONE = "gone"
"""Stands for a node whose row belongs to another one now."""


class DecisionView(Struct, frozen=True):
    """One look for a node.

    `outcome` is placed, served (it had waited), queued, refused or expired. Nodes are ids, null
    for none, "gone" for one that has left. Loads are by the strategy, before this job: jobs, or
    their share of the capacity. `shadow` is what shadow_strategy would have chosen. `excluded`
    counts nodes by reason where none was found.
    """

    age_ms: int
    job_id: str
    attempt: int
    outcome: str
    services: list[str]
    paired: str | None
    node: str | None
    load: float
    runner_up: str | None
    runner_up_load: float
    shadow: str | None
    eligible: int
    queued: int
    excluded: dict[str, int]


class Decisions(Struct, frozen=True):
    """The last decisions, latest first. Beyond a budget they are counted and not recorded."""

    generated_at_ms: int
    strategy: str
    recorded_total: int
    unrecorded_total: int
    decisions: list[DecisionView]


class _Asked(Struct, frozen=True):
    """The query."""

    job: str | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT


class DecisionsReader:
    """Answers for the ring of decisions."""

    def __init__(self, views: Views, epoch: str, strategy: str) -> None:
        """`strategy` is the setting scheduler.load_balancer.strategy."""
        self._views = views
        self._epoch = epoch
        self._strategy = strategy

    def respond(self, request: web.Request, now_ns: int, now_ms: int) -> web.Response:
        """Return the Decisions that the query asks for; `now_ns` is monotonic."""
        try:
            asked = msgspec.convert(dict(request.query), _Asked, strict=False)
        except msgspec.ValidationError as error:
            return problem(400, "Bad Request", detail=str(error))
        key = None
        if asked.job is not None:
            key = parse_wire_job_id(self._epoch, asked.job)
            if key is None:
                return problem(404, "Not Found", detail=f"{asked.job} is no job of this run")
        found = read_decisions(self._views, job=key, last=asked.limit)
        column = self._views.column
        document = Decisions(
            now_ms,
            self._strategy,
            int(column("dispatcher_counters", "decisions_recorded_total")[0]),
            int(column("dispatcher_counters", "decisions_unrecorded_total")[0]),
            self._shown(found, now_ns),
        )
        return Prepared(msgspec.json.encode(document)).respond(request)

    def _shown(self, found: list[Decision], now_ns: int) -> list[DecisionView]:
        refs = {ref for d in found for ref in (d.node, d.runner_up, d.shadow, d.paired)}
        labels = node_labels(self._views, refs)
        names = texts(self._views.column(SERVICES.name, "service_id"))
        words = self._views.column(CLASSES.name, "services")
        services = {d.class_index: services_of(words[d.class_index], names) for d in found}
        return [
            DecisionView(
                age_ms=max(0, now_ns - decision.time_ns) // 1_000_000,
                job_id=wire_job_id(self._epoch, decision.job),
                attempt=decision.attempt,
                outcome=decision.outcome.name.lower(),
                services=services[decision.class_index],
                paired=_name(decision.paired, labels),
                node=_name(decision.node, labels),
                load=self._load(decision.load),
                runner_up=_name(decision.runner_up, labels),
                runner_up_load=self._load(decision.runner_up_load),
                shadow=_name(decision.shadow, labels),
                eligible=decision.eligible,
                queued=decision.queued,
                excluded=decision.excluded,
            )
            for decision in reversed(found)
        ]

    def _load(self, load: int) -> float:
        if self._strategy != LEAST_UTILIZATION:
            return load
        return round(load / UTILIZATION_SCALE, _DECIMALS)


def _name(ref: int, labels: dict[int, NodeLabel | None]) -> str | None:
    if ref < 0:
        return None
    label = labels[ref]
    return GONE if label is None else label.node_id
