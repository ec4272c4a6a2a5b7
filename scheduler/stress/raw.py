"""What a run leaves behind: raw samples, from which all figures come."""

from msgspec import Struct

from scheduler.stress.messages import Call, Violation
from scheduler.stress.scenario import Scenario


class NodeLoad(Struct, frozen=True):
    """How busy the ready nodes were at one moment, as shares of their slots (0-1)."""

    nodes: int
    least: float
    p10: float
    median: float
    p90: float
    greatest: float


class Look(Struct, frozen=True):
    """One moment. `cpu_seconds` are totals by process, `busy_seconds` that of the whole machine.

    The rest is there only where the scheduler's memory can be read.
    """

    time_ns: int
    cpu_seconds: dict[str, float]
    busy_seconds: float
    queued: int | None = None
    load: NodeLoad | None = None


class Inside(Struct, frozen=True):
    """What the scheduler says of the run itself, from its shared memory.

    `stages` has the bucket counts of each latency histogram, `counters` what was added to each in
    the run; `node_busy` the mean share of slots in use (0-1) for each node that was seen ready.
    """

    stages: dict[str, list[int]]
    counters: dict[str, int]
    node_busy: list[float]


class Run(Struct, frozen=True):
    """One run; `begin_ns`, `until_ns` and `ended_ns` are monotonic.

    Jobs were due between the first two; after the third none was waited for. `target` is "" where
    the scheduler was started for the run.
    """

    scenario: Scenario
    name: str
    version: str
    commit: str
    machine: str
    started_at: str
    target: str
    begin_ns: int
    until_ns: int
    ended_ns: int
    interrupted: bool
    calls: list[Call]
    violations: list[Violation]
    troubles: dict[str, int]
    looks: list[Look]
    inside: Inside | None
