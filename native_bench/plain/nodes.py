"""The plain scheduler's nodes: a map under a lock, looked through for each job."""

import asyncio
import time
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from scheduler.protocol.node import NodeHeartbeat, NodeRegister
from scheduler.protocol.session import Features

CAPACITY_DEFAULT = 4
USAGE_PERCENT_MAX = 90.0
HEARTBEAT_SECONDS_MAX = 45.0


@dataclass(slots=True)
class Need:
    """What a job asks of its node."""

    services: frozenset[str]
    src_lang: str
    tgt_lang: str
    features: frozenset[str]


@dataclass(slots=True)
class Node:
    """A connected node."""

    node_id: str
    connection: ServerConnection
    capacity: int
    public: bool
    services: frozenset[str]
    features: frozenset[str]
    languages: frozenset[tuple[str, str]]
    """Pairs that its models translate; empty: any."""
    ready: bool = False
    cpu_percent: float = 0.0
    gpu_percent: float = 0.0
    memory_percent: float = 0.0
    heartbeat_at: float = field(default_factory=time.monotonic)
    jobs: set[str] = field(default_factory=set)

    def may_have(self, need: Need, now: float) -> bool:
        """Whether it can do such a job now."""
        return (
            self.ready
            and self.public
            and len(self.jobs) < self.capacity
            and now - self.heartbeat_at < HEARTBEAT_SECONDS_MAX
            and self.cpu_percent <= USAGE_PERCENT_MAX
            and self.gpu_percent <= USAGE_PERCENT_MAX
            and self.memory_percent <= USAGE_PERCENT_MAX
            and need.services <= self.services
            and need.features <= self.features
            and (not self.languages or (need.src_lang, need.tgt_lang) in self.languages)
        )


class NodeMap:
    """All nodes by their ids."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._nodes: dict[str, Node] = {}

    async def add(self, node: Node) -> bool:
        """Add a node; return False where its id is taken."""
        async with self._lock:
            return self._nodes.setdefault(node.node_id, node) is node

    async def remove(self, node: Node) -> set[str]:
        """Remove a node; return the jobs it had."""
        async with self._lock:
            del self._nodes[node.node_id]
            return node.jobs

    async def update(self, node: Node, heartbeat: NodeHeartbeat) -> bool:
        """Take a heartbeat; return whether the node became ready by it."""
        usage = heartbeat.resource_usage
        async with self._lock:
            node.heartbeat_at = time.monotonic()
            node.cpu_percent = usage.cpu_percent
            node.gpu_percent = usage.gpu_percent or 0.0
            node.memory_percent = usage.mem_percent
            if heartbeat.installed_services is not None:
                node.services = frozenset(s.service_id for s in heartbeat.installed_services)
            became_ready, node.ready = not node.ready, True
            return became_ready

    async def reserve(self, need: Need, job_id: str) -> Node | None:
        """Give the job to the least loaded node that can do it; None where there is none."""
        async with self._lock:
            now = time.monotonic()
            fitting = [node for node in self._nodes.values() if node.may_have(need, now)]
            if not fitting:
                return None
            node = min(fitting, key=_load)
            node.jobs.add(job_id)
            return node

    async def release(self, node: Node, job_id: str) -> bool:
        """Free the job's slot; return False where the node doesn't hold it."""
        async with self._lock:
            held = job_id in node.jobs
            node.jobs.discard(job_id)
            return held


def _load(node: Node) -> int:
    return len(node.jobs)


def features_of(features: Features | None) -> frozenset[str]:
    """Return the names of those that are set."""
    if features is None:
        return frozenset()
    return frozenset(name for name in Features.__struct_fields__ if getattr(features, name))


def node_of(register: NodeRegister, node_id: str, connection: ServerConnection) -> Node:
    """Return the node that registers."""
    state = register.capability_state
    services = [service.service_id for service in register.installed_services or []]
    return Node(
        node_id=node_id,
        connection=connection,
        capacity=register.max_concurrent_jobs or CAPACITY_DEFAULT,
        public=register.accept_public_jobs,
        services=frozenset(s for s in services if state is None or state.get(s) == "ready"),
        features=features_of(register.features_supported),
        languages=frozenset(
            (model.src_lang, model.tgt_lang)
            for model in register.installed_models
            if model.src_lang and model.tgt_lang
        ),
    )
