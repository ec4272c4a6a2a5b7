"""A run as the harness would leave it, made up."""

from scheduler.memory.histogram import bucket_of
from scheduler.memory.layout import HISTOGRAM_BUCKETS
from scheduler.stress.messages import Call
from scheduler.stress.raw import Inside, Look, NodeLoad, Run
from scheduler.stress.scenario import NodeGroup, Ramp, Scenario, Steady

BEGIN_NS = 5_000_000_000
MS = 1_000_000


def steady(**changes: object) -> Scenario:
    fields: dict[str, object] = {
        "title": "A test",
        "load": Steady(rate=10),
        "nodes": [NodeGroup(count=2)],
        "seconds": 4.0,
        "warmup_seconds": 0.0,
    }
    return Scenario(**{**fields, **changes})  # type: ignore[arg-type]


def ramp() -> Scenario:
    return steady(load=Ramp(rate=10, rate_max=20, steps=2))


def call(due_ms: int, latency_ms: float, code: str = "", **changes: int | bool) -> Call:
    due_ns = BEGIN_NS + due_ms * MS
    made = Call(0, 0, 0, 0, due_ns, due_ns + MS, due_ns + int(latency_ms * MS), code)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def inside() -> Inside:
    counts = [0] * HISTOGRAM_BUCKETS
    counts[bucket_of(30 * MS)] = 10
    return Inside(
        {"node": counts, "queue": [0] * HISTOGRAM_BUCKETS, "end_to_end": counts},
        {"jobs_accepted": 10, "failovers": 0},
        [0.5, 0.25],
    )


def looks() -> list[Look]:
    return [
        Look(
            BEGIN_NS + second * 1_000 * MS,
            {"dispatcher": 0.1 * second, "load: sessions 0": 0.2 * second},
            1.5 * second,
            0,
            NodeLoad(2, 0.0, 0.1, 0.25, 0.4, 0.5),
        )
        for second in range(4)
    ]


def run_of(calls: list[Call], scenario: Scenario | None = None, **changes: object) -> Run:
    scenario = scenario or steady()
    until_ns = BEGIN_NS + int(scenario.seconds * 1e9)
    fields: dict[str, object] = {
        "scenario": scenario,
        "name": "a-test",
        "version": "1.2.3",
        "commit": "abcdef0",
        "machine": "2 cores of Test",
        "started_at": "2026-01-02T03:04:05+00:00",
        "target": "",
        "begin_ns": BEGIN_NS,
        "until_ns": until_ns,
        "ended_ns": until_ns,
        "interrupted": False,
        "calls": calls,
        "violations": [],
        "troubles": {},
        "looks": looks(),
        "inside": inside(),
    }
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


def empty() -> Run:
    return run_of([], looks=[], inside=None)
