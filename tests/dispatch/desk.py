"""A core on plain tables with its clock in hand: what the tests of the parts talk to."""

from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.settings import nanoseconds
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE, job_key_base, slot_of
from scheduler.protocol.records import (
    Assign,
    Failed,
    Failure,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
    ToDispatcher,
    ToGateway,
)
from scheduler.protocol.status import Status
from scheduler.selection.services import distinct_classes

ASR, NMT, TTS = "node-inference", "nmt-m2m100", "piper-tts"
CORE = [ASR, NMT, TTS]
WHOLE = 0b111
"""The requirement of the whole pipeline."""

Said = list[tuple[int, ToGateway]]

_TIMES = ("submitted_ns", "reserved_ns", "received_ns")
"""(gateway, record), each gateway's in order."""

R = TypeVar("R")


def settings(**tables: Any) -> Config:
    """Return the defaults, changed as told: `settings(limits={"nodes_max": 1})`."""
    return msgspec.convert(tables, Config)


def job(number: int, gateway: int = 0) -> int:
    """Return the key of a job of `gateway`."""
    return job_key_base(gateway, 1) + number


def only(kind: type[R], said: Said) -> R:
    """Return the one record of that kind."""
    found = every(kind, said)
    assert len(found) == 1, said
    return found[0]


def every(kind: type[R], said: Said) -> list[R]:
    """Return all records of that kind."""
    return [record for _, record in said if isinstance(record, kind)]


def registration(node_id: str, **fields: Any) -> RegisterNode:
    """Return the registration of a node with all core services and two slots."""
    given: dict[str, Any] = {
        "conn": 1,
        "node_id": node_id,
        "name": node_id,
        "capacity": 2,
        "accept_public": True,
        "installed": CORE,
        "cpu_cores": 8.0,
        "memory_gb": 32.0,
        "gpus": 1,
        "gpu_memory_gb": 24.0,
        **fields,
    }
    given.setdefault("ready", given["installed"])
    return RegisterNode(**given)


class Desk:
    """Talks to one core; `say` and `tick` return what it says back."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        gateways: int = 2,
        nodes: int = 16,
        tables: Tables | None = None,
        now_ns: int = nanoseconds(1_000),
    ) -> None:
        self.config = config or Config()
        self.now_ns = now_ns
        self.tables = tables or Tables.allocate(nodes, distinct_classes(self.config.scheduler))
        self.notes: list[tuple[str, str]] = []
        self.timed: Said = []
        """What was heard last, with its times."""
        self.core = Dispatcher(
            self.config,
            self.tables,
            gateways,
            note=lambda kind, text: self.notes.append((kind, text)),
        )

    @property
    def counts(self) -> Any:
        self.core.update_gauges()
        return self.core.counts

    def heard(self) -> Said:
        """Return what was said, without the times that only latencies are made of."""
        self.timed = [(gateway, r) for gateway, box in enumerate(self.core.outbox) for r in box]
        for box in self.core.outbox:
            box.clear()
        return [(gateway, _untimed(record)) for gateway, record in self.timed]

    def say(self, gateway: int, record: ToDispatcher) -> Said:
        self.core.receive(gateway, record, self.now_ns)
        return self.heard()

    def tick(self, seconds: float = 0.0) -> Said:
        """Let time pass, and the core do what is due then."""
        self.now_ns += nanoseconds(seconds)
        self.core.tick(self.now_ns)
        return self.heard()

    def lose_gateway(self, gateway: int) -> Said:
        self.core.lose_gateway(gateway, self.now_ns)
        return self.heard()

    def node(self, node_id: str, gateway: int = 0, *, healthy: bool = True, **fields: Any) -> int:
        """Register a node, and have it found healthy; return its reference."""
        ref = only(NodeAccepted, self.say(gateway, registration(node_id, **fields))).node
        if healthy:
            self.say(gateway, NodeHealth(ref, True, ""))
        return ref

    def submit(
        self, number: int, gateway: int = 0, requirement: int = WHOLE, **fields: Any
    ) -> Said:
        return self.say(gateway, Submit(job(number, gateway), requirement, **fields))

    def place(self, number: int, gateway: int = 0, **fields: Any) -> int:
        """Submit a job; return the node it went to, NO_NODE where it waits."""
        assigned = every(Assign, self.submit(number, gateway, **fields))
        return assigned[0].node if assigned else NO_NODE

    def finish(self, number: int, node: int, gateway: int = 0, attempt: int = 1) -> Said:
        """Let the node, on gateway 0, bring a result for the job of `gateway`."""
        return self.say(0, Result(job(number, gateway), attempt, node))

    def fail(
        self, number: int, node: int, code: str, attempt: int = 1, service: str = "", **fields: Any
    ) -> Said:
        error = b'{"code":"mine"}'
        return self.say(0, Failure(job(number), attempt, node, code, service, error, **fields))

    def lose(self, node: int, gateway: int = 0) -> Said:
        return self.say(gateway, NodeGone(node, "closed"))

    def status(self, node: int) -> Status:
        return Status(int(self.tables.nodes.status[slot_of(node)]))

    def in_flight(self, node: int) -> int:
        return int(self.tables.nodes.in_flight[slot_of(node)])

    def usage(
        self,
        node: int,
        *,
        cpu: float = 0.0,
        gpu: float = 0.0,
        memory: float = 0.0,
        external_jobs: int = 0,
    ) -> None:
        """Write a heartbeat where the node's gateway would."""
        columns, slot = self.tables.nodes, slot_of(node)
        columns.usage_ref[slot] = node
        columns.cpu_percent[slot] = cpu
        columns.gpu_percent[slot] = gpu
        columns.memory_percent[slot] = memory
        columns.external_jobs[slot] = external_jobs
        columns.heartbeat_ns[slot] = self.now_ns

    def successor(self) -> "Desk":
        """Return a new core on the same tables, which is told of everything anew."""
        desk = Desk(
            self.config, gateways=len(self.core.outbox), tables=self.tables, now_ns=self.now_ns
        )
        desk.core.start_recovery(desk.now_ns)
        return desk


def _untimed(record: ToGateway) -> ToGateway:
    times = {name: 0 for name in record.__struct_fields__ if name in _TIMES}
    return replace(record, **times) if times else record


def running(*attempts: tuple[int, int]) -> list[RunningAttempt]:
    """Return attempts that a node holds, each (job, attempt)."""
    return [RunningAttempt(*attempt) for attempt in attempts]


def failure_of(said: Said) -> tuple[str, dict[str, int]]:
    """Return code and exclusions of the one job that failed."""
    failed = only(Failed, said)
    return failed.code, failed.exclusions
