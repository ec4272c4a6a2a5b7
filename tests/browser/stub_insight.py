"""What the stub tells of stages, room, checks and missing models, worked out from its nodes."""

from collections.abc import Iterable, Sequence
from typing import Any

from scheduler.memory.layout import GATEWAY_LATENCY

Json = dict[str, Any]

SUMS = ("dispatch", "end_to_end")
WHAT = {column.name.removesuffix("_ns"): column.help for column in GATEWAY_LATENCY.columns}
P50_MS = {
    "receive": 0.058,
    "submit": 0.31,
    "queue": 0.034,
    "assign": 0.52,
    "first_partial": 430.0,
    "node": 1_112.0,
    "deliver": 0.34,
    "order": 1.9,
    "dispatch": 0.92,
    "end_to_end": 1_120.0,
}
P99_TO_P50 = {"queue": 96.0, "order": 84.0, "node": 2.2, "first_partial": 2.1, "end_to_end": 2.2}
PARTIAL_SHARE = 0.62
"""Of jobs that have a first partial text at all."""

CPU_LIMIT = 90

_USUAL_LOAD = 2


def waterfall(
    p50_ms: dict[str, float],
    *,
    interval_s: float,
    jobs: int,
    interval_jobs: int,
    swing: float,
    now_ms: int,
) -> Json:
    """Return the stages of so many jobs; those of the interval take `swing` times as long."""
    whole = [_stage(name, p50_ms[name], jobs) for name in WHAT]
    interval = [_stage(name, p50_ms[name] * swing, interval_jobs) for name in WHAT]
    return {
        "generated_at_ms": now_ms,
        "interval_s": interval_s,
        "stages": [stage for stage in whole if stage["name"] not in SUMS],
        "sums": [stage for stage in whole if stage["name"] in SUMS],
        "interval_stages": [stage for stage in interval if stage["name"] not in SUMS],
        "interval_sums": [stage for stage in interval if stage["name"] in SUMS],
    }


def _stage(name: str, p50_ms: float, jobs: int) -> Json:
    count = round(jobs * PARTIAL_SHARE) if name == "first_partial" else jobs
    p99 = P99_TO_P50.get(name, 4.6)
    figures = {"mean": 1 + (p99 - 1) / 24, "p50": 1.0, "p90": 1 + (p99 - 1) / 3, "p99": p99}
    return {
        "name": name,
        "what": WHAT[name],
        "count": count,
        **{
            f"{figure}_ms": round(p50_ms * factor, 3) if count else None
            for figure, factor in figures.items()
        },
    }


def capacity(
    nodes: Sequence[Json], classes: Iterable[Sequence[str]], *, queued: int, now_ms: int
) -> Json:
    """Return the room of each class of services; the first one has what is queued."""
    found = [
        _room(nodes, sorted(services), 0 if index else queued)
        for index, services in enumerate(classes)
    ]
    return {"generated_at_ms": now_ms, "queued": queued, "classes": found}


def _room(nodes: Sequence[Json], services: list[str], queued: int) -> Json:
    fits = eligible = 0
    blocked: dict[str, Json] = {}
    for node in nodes:
        free = _free(node)
        reason = _reason(node, services, free)
        if not reason:
            fits += free
            eligible += 1
            continue
        counts = blocked.setdefault(reason, {"nodes": 0, "slots": 0})
        counts["nodes"] += 1
        counts["slots"] += free
    most = max(blocked, key=lambda reason: blocked[reason]["slots"], default="no_nodes")
    return {
        "services": services,
        "fits_now": fits,
        "eligible_nodes": eligible,
        "queued": queued,
        "retry_after_ms": 100 + 20 * queued,
        "blocks_next": "no_free_slot" if fits else most,
        "blocked": blocked,
    }


def _free(node: Json) -> int:
    return max(0, int(node["capacity"]) - int(node["in_flight"]) - int(node["external_jobs"]))


def _reason(node: Json, services: list[str], free: int) -> str:
    if node["status"] in {"offline", "draining"}:
        return str(node["status"])
    conditions = {
        "private": not node["public"],
        "not_ready": node["status"] != "ready",
        "service_not_installed": not set(services) <= set(node["services_installed"]),
        "service_not_ready": not set(services) <= set(node["services_ready"]),
        "model_not_available": bool(set(services) & set(node["services_marked"])),
        "cpu_over_limit": node["cpu_percent"] > CPU_LIMIT,
        "no_free_slot": not free,
    }
    return next((reason for reason, holds in conditions.items() if holds), "")


def decisions(
    nodes: Sequence[Json], *, jobs_per_s: float, recorded: int, limit: int, now_ms: int
) -> Json:
    """Return the last decisions."""
    eligible = [node for node in nodes if not _reason(node, [], _free(node))]
    eligible.sort(key=lambda node: (abs(node["in_flight"] - _USUAL_LOAD), node["node_id"]))
    found = [
        _decision(eligible, index, recorded - index, round(1000 * index / jobs_per_s))
        for index in range(min(limit, recorded) if eligible else 0)
    ]
    return {
        "generated_at_ms": now_ms,
        "strategy": "least_connections",
        "recorded_total": recorded,
        "unrecorded_total": 0,
        "decisions": found,
    }


def _decision(eligible: Sequence[Json], index: int, number: int, age_ms: int) -> Json:
    chosen, runner_up, other = (eligible[(index + n) % len(eligible)] for n in (0, 1, 5))
    return {
        "age_ms": age_ms,
        "job_id": f"job-7c2e9d04-{(index % 2) << 56 | number:X}",
        "attempt": 1 if number % 9 else 2,
        "outcome": "placed" if number % 11 else "served",
        "services": list(chosen["services_ready"]),
        "paired": None,
        "node": chosen["node_id"],
        "load": chosen["in_flight"],
        "runner_up": runner_up["node_id"],
        "runner_up_load": runner_up["in_flight"],
        "shadow": other["node_id"] if number % 8 == 0 else chosen["node_id"],
        "eligible": len(eligible),
        "queued": 0,
        "excluded": {},
    }


def no_audit() -> Json:
    """Return an audit that found nothing."""
    return {
        "differing_nodes": 0,
        "differing": [],
        "slots_freed_total": 0,
        "rows_rescored_total": 0,
        "attempts_dropped_total": 0,
        "jobs_overdue_total": 0,
        "oldest_job_ms": 412,
        "righted": [],
    }


def differing(nodes: Sequence[Json]) -> list[Json]:
    """Return what an audit says of nodes whose count is wrong."""
    return [
        {"node_id": node["node_id"], "in_flight": 4, "held": 2, "seconds": 12.4} for node in nodes
    ]


def decision(**fields: object) -> Json:
    """Return a decision without a node, but for `fields`."""
    return {
        "age_ms": 5,
        "job_id": "job-A-1",
        "attempt": 1,
        "outcome": "placed",
        "services": [],
        "paired": None,
        "node": None,
        "load": 0,
        "runner_up": None,
        "runner_up_load": 0,
        "shadow": None,
        "eligible": 0,
        "queued": 0,
        "excluded": {},
        **fields,
    }


def metrics(missing: Json, now_ms: int) -> Json:
    """Return the metrics of `missing`: {metric without prefix: {label: {name: total}}}."""
    found = [
        {
            "name": f"scheduler_{name}",
            "type": "counter",
            "help": "",
            "unit": "",
            "samples": [
                {"labels": {label: value}, "value": float(total)}
                for label, totals in by_label.items()
                for value, total in totals.items()
            ],
        }
        for name, by_label in missing.items()
    ]
    return {"generated_at_ms": now_ms, "metrics": found}
