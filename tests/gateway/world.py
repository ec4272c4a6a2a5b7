"""Gateways and the real dispatcher core in one process, without sockets, pipes or waiting.

What crosses a process boundary in reality goes through the same codec here; what would be a
socket is a `Wire` that remembers what was sent. Records move only in `settle`.
"""

import asyncio
import os
import time
from collections import deque
from typing import Any

import msgspec

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.counts import NAMES
from scheduler.dispatch.tables import Tables
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.gateway import Gateway
from scheduler.gateway.node import NodePeer
from scheduler.gateway.payloads import Payloads
from scheduler.gateway.session import SessionPeer
from scheduler.identity.credentials import Credentials
from scheduler.memory.arena import Arena, ArenaReader, create_arena
from scheduler.memory.layout import Dimensions
from scheduler.memory.rings import ReleaseRings
from scheduler.memory.segment import Segment
from scheduler.protocol.records import ToDispatcher, ToGateway
from scheduler.selection.services import distinct_classes

SERVICES = ("node-inference", "nmt-m2m100", "piper-tts")
ARENA_BYTES = 1 << 18
SPEECH = "AAAAAAAA"
"""Six bytes of silence in base64."""

_to_dispatcher = msgspec.msgpack.Decoder(ToDispatcher)
_to_gateway = msgspec.msgpack.Decoder(ToGateway)


class Wire:
    """Stands for a connection: what the other end of the socket would see."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.identified = False
        self.admitted = False
        self.peer_address = "192.0.2.7"
        self.bearer: str | None = None
        self.certificate: dict[str, Any] = {}
        self.is_reading_paused = False
        self.read_ns = 1
        self.rate: int | None = None
        self.is_open = True
        self.is_ended = False
        self.peer: Any = None
        self.unwritten_bytes_max: int | None = None

    def send(self, message: bytes) -> None:
        self.raw.append(message)

    def send_parts(self, parts: Any) -> None:
        self.raw.append(b"".join(parts))

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self.is_ended = True

    def pass_to(self, peer: Any) -> None:
        self.peer = peer

    def mark_admitted(self) -> None:
        self.admitted = True

    def mark_identified(
        self,
        messages_per_second_max: int | None = None,
        unwritten_bytes_max: int | None = None,
    ) -> None:
        self.identified = True
        self.rate = messages_per_second_max
        self.unwritten_bytes_max = unwritten_bytes_max

    def take(self) -> list[dict[str, Any]]:
        """Return what came since the last call."""
        raw, self.raw = self.raw, []
        return [msgspec.json.decode(message) for message in raw]


class PipelessLink:
    """Stands for the pipes: records wait in queues until the world settles."""

    def __init__(self) -> None:
        self.handlers: dict[type, Any] = {}
        self.sent: deque[bytes] = deque()
        self.is_up = True
        self.is_busy = False
        self.is_slow = False

    def route(self, handlers: dict[type, Any]) -> None:
        self.handlers.update(handlers)

    def send(self, record: ToDispatcher) -> None:
        if self.is_up:
            self.sent.append(msgspec.msgpack.encode(record))


class World:
    """All of it. `close` frees the memory."""

    def __init__(
        self,
        config: Config | None = None,
        gateways: int = 1,
        credentials: Credentials = Credentials(),  # noqa: B008 - frozen
    ) -> None:
        self.config = config or Config()
        self.credentials = credentials
        dimensions = Dimensions(
            gateways=gateways,
            nodes=64,
            sessions_per_gateway=self.config.limits.sessions_per_gateway_max,
            classes=distinct_classes(self.config.scheduler),
        )
        self.loop = asyncio.new_event_loop()
        self.segment = Segment.create(dimensions, epoch="test", started_ms=0, started_ns=0)
        self._fds = [create_arena(ARENA_BYTES) for _ in range(gateways)]
        self._arenas = [Arena(fd, index, 0) for index, fd in enumerate(self._fds)]
        self._readers = [[ArenaReader(fd) for fd in self._fds] for _ in self._fds]
        self.links = [PipelessLink() for _ in range(gateways)]
        self.contexts = [self._context(index) for index in range(gateways)]
        self.payloads = [self._payloads(index) for index in range(gateways)]
        self.gateways = [
            Gateway(context, link, payloads)  # type: ignore[arg-type]
            for context, link, payloads in zip(
                self.contexts, self.links, self.payloads, strict=True
            )
        ]
        self.core = self._core()

    def _core(self) -> Dispatcher:
        views = self.segment.views
        return Dispatcher(self.config, Tables(views.column, views.scores()), len(self.links))

    def _context(self, index: int) -> GatewayContext:
        views = self.segment.views
        return GatewayContext(
            config=self.config,
            index=index,
            incarnation=0,
            epoch="test",
            loop=self.loop,
            views=views,
            counters=views.counters("gateway_counters", index),
            credentials=self.credentials,
        )

    def _payloads(self, index: int) -> Payloads:
        rings = ReleaseRings(self.segment.views, len(self._fds), index)
        counters = self.contexts[index].counters
        return Payloads(
            self._arenas[index],
            self._readers[index],
            rings,
            counters,
            self.config.limits.arena_bytes,
        )

    # --- peers ---------------------------------------------------------------------------

    def session(self, gateway: int = 0, **init: Any) -> "FakeSession":
        """Open a session; further `session_init` fields by name."""
        session = FakeSession(self, gateway)
        session.say(
            type="session_init",
            client_version="1",
            platform="web",
            **{"src_lang": "en", "tgt_lang": "es", **init},
        )
        self.settle()
        return session

    def node(self, gateway: int = 0, *, ready: bool = True, **register: Any) -> "FakeNode":
        """Connect a node, ready by default; further `node_register` fields by name."""
        node = FakeNode(self, gateway)
        node.register(**register)
        self.settle()
        if ready:
            node.heartbeat()
            self.settle()
        return node

    # --- time ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Let records flow until none is left."""
        moved = True
        while moved:
            moved = False
            for index, link in enumerate(self.links):
                while link.sent:
                    moved = True
                    record = _to_dispatcher.decode(link.sent.popleft())
                    self.core.receive(index, record, time.monotonic_ns())
            for index, box in enumerate(self.core.outbox):
                records = [_to_gateway.decode(msgspec.msgpack.encode(r)) for r in box]
                box.clear()
                for record in records:
                    moved = True
                    self.links[index].handlers[type(record)](record)

    def tick(self, later_seconds: float = 0.0) -> None:
        """Let the dispatcher's time pass."""
        self.core.tick(time.monotonic_ns() + round(later_seconds * 1e9))
        self.settle()

    def replace_dispatcher(self, *, carry_counts: bool = False) -> None:
        """Lose the dispatcher, and what was on its way; let a new one take over.

        With `carry_counts` it counts on from the totals of the one before, as the process does.
        """
        totals = self.core.counts
        for link, box in zip(self.links, self.core.outbox, strict=True):
            link.sent.clear()
            box.clear()
        self.core = self._core()
        if carry_counts:
            for name in NAMES:
                setattr(self.core.counts, name, getattr(totals, name))
        self.core.start_recovery(time.monotonic_ns())
        for gateway in self.gateways:
            gateway.announce()
        self.settle()

    def count(self, name: str, gateway: int = 0) -> int:
        """Return a gateway's counter."""
        return self.contexts[gateway].counters.get(name)

    def close(self) -> None:
        """Free everything."""
        self.loop.close()
        for arena in self._arenas:
            arena.close()
        for reader in (reader for readers in self._readers for reader in readers):
            reader.close()
        for fd in self._fds:
            os.close(fd)
        self.segment.close()


class FakeSession:
    """A session's client."""

    def __init__(self, world: World, gateway: int) -> None:
        self.world = world
        self.wire = Wire()
        self.peer: SessionPeer = world.gateways[gateway].new_session(self.wire)  # type: ignore[arg-type]
        self.id = ""

    def say(self, **message: Any) -> None:
        self.peer.on_text(msgspec.json.encode(message))

    def speak(self, index: int = 0, **fields: Any) -> None:
        """Send an utterance."""
        self.say(
            **{
                "type": "utterance",
                "session_id": self.session_id,
                "utterance_index": index,
                "manual_cut": True,
                "src_lang": "en",
                "tgt_lang": "es",
                "audio": SPEECH,
                "audio_format": "pcm16",
                "sample_rate": 16000,
                **fields,
            }
        )
        self.world.settle()

    @property
    def session_id(self) -> str:
        if not self.id:
            self.id = self.wire.take()[0]["session_id"]
        return self.id

    def heard(self) -> list[dict[str, Any]]:
        """Return the messages since the last call, without the ack."""
        assert self.session_id
        return self.wire.take()

    def heard_types(self) -> list[str]:
        """Return their types, of events their names."""
        return [message.get("event", message["type"]) for message in self.heard()]

    def hang_up(self) -> None:
        """Close the socket."""
        self.peer.on_closed()
        self.world.settle()


class FakeNode:
    """A node's program."""

    def __init__(self, world: World, gateway: int) -> None:
        self.world = world
        self.wire = Wire()
        self.peer: NodePeer = world.gateways[gateway].new_node(self.wire)  # type: ignore[arg-type]
        self.id = ""

    def say(self, **message: Any) -> None:
        self.peer.on_text(msgspec.json.encode(message))

    def register(self, **fields: Any) -> None:
        """Send node_register."""
        services = fields.pop("services", SERVICES)
        self.say(
            **{
                "type": "node_register",
                "version": "1",
                "platform": "linux",
                "hardware": {"cpu_cores": 8, "memory_gb": 16},
                "installed_models": [],
                "installed_services": [
                    {"service_id": s, "version": "1", "platform": "any"} for s in services
                ],
                "features_supported": {},
                "accept_public_jobs": True,
                **fields,
            }
        )

    @property
    def node_id(self) -> str:
        if not self.id:
            self.id = next(m["node_id"] for m in self.wire.take() if "node_id" in m)
        return self.id

    def heartbeat(self, **fields: Any) -> None:
        """Send a heartbeat, a healthy one by default."""
        usage = {"cpu_percent": 5, "mem_percent": 5, "running_jobs": 0, **fields.pop("usage", {})}
        self.say(
            type="node_heartbeat",
            node_id=self.node_id,
            timestamp=0,
            resource_usage=usage,
            **fields,
        )
        self.world.settle()

    def jobs(self) -> list[dict[str, Any]]:
        """Return the job_assigns since the last call."""
        assert self.node_id
        return [m for m in self.wire.take() if m["type"] == "job_assign"]

    def recognise(self, job: dict[str, Any], text: str, *, is_final: bool = False) -> None:
        """Send an asr_partial, and leave what it comes to where it is."""
        self.say(
            type="asr_partial",
            job_id=job["job_id"],
            node_id=self.node_id,
            session_id=job["session_id"],
            utterance_index=job["utterance_index"],
            text=text,
            is_final=is_final,
            trace_id=job["trace_id"],
        )

    def answer(self, job: dict[str, Any], **fields: Any) -> None:
        """Send a job_result, a good one by default."""
        self.say(
            **{
                "type": "job_result",
                "job_id": job["job_id"],
                "attempt_id": job["attempt_id"],
                "node_id": self.node_id,
                "session_id": job["session_id"],
                "utterance_index": job["utterance_index"],
                "success": True,
                "text_asr": "hello",
                "text_translated": "hola",
                "tts_audio": "AAAA",
                "trace_id": job["trace_id"],
                **fields,
            }
        )
        self.world.settle()

    def fail(self, job: dict[str, Any], code: str, **details: Any) -> None:
        """Send a failed job_result."""
        error = {"code": code, "message": f"{code} happened", "details": details or None}
        self.answer(job, success=False, error=error, text_asr=None, text_translated=None)

    def hang_up(self) -> None:
        """Close the socket."""
        self.peer.on_closed()
        self.world.settle()
