"""A real HTTP server over what a real reader makes of a segment."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web, web_app
from aiohttp.test_utils import TestClient, TestServer

from scheduler.config import Config, LoadBalancerSettings
from scheduler.stats.admin import AdminGate
from scheduler.stats.assets import Dashboard
from scheduler.stats.catalog import EmptyCatalogue
from scheduler.stats.commands import CommandPipe, NodeCommands
from scheduler.stats.events import EventStream
from scheduler.stats.health import HealthReader
from scheduler.stats.history import HistoryKeeper
from scheduler.stats.http import Sources, make_app
from scheduler.stats.meter import RequestMeter
from scheduler.stats.metric_readers import MetricSources
from scheduler.stats.node_table import NodeTables
from scheduler.stats.publisher import Publication, Publisher
from scheduler.stats.reading import MemoryReader
from scheduler.stats.schema import CatalogueState, Origin, StatsCounters
from scheduler.stats.snapshot import encode, make_snapshot
from scheduler.stats.store import MemoryStore, SnapshotStore
from scheduler.stats.waterfall import WaterfallKeeper
from tests.stats.world import DIMENSIONS, STARTED_NS, World

Client = TestClient[web.Request, web.Application]

DEADLINE_SECONDS = 10.0
START_MS = 1_700_000_000_000


class Publishing:
    """Publishes what a world holds, at the times that a test says."""

    def __init__(self, world: World) -> None:
        views = world.reader_views()
        self._reader = MemoryReader(views)
        self._health = HealthReader(views, DIMENSIONS.gateways)
        self._sequence = 0
        self.catalogue = CatalogueState("none")

    def publish(self, at_seconds: float = 0.0) -> Publication:
        """Return a publication made so long after the start."""
        self._sequence += 1
        now_ns = STARTED_NS + int(at_seconds * 1e9)
        reading = self._reader.read()
        snapshot = make_snapshot(
            reading,
            processes=self._health.read(now_ns),
            services=[],
            catalogue=self.catalogue,
            stats=StatsCounters(self._sequence),
            limits=LoadBalancerSettings(),
            origin=Origin(START_MS + int(at_seconds * 1e3), self._sequence, "here"),
            now_ns=now_ns,
        )
        return Publication(reading, snapshot, encode(snapshot), now_ns)


def metric_sources(world: World, meter: RequestMeter | None = None) -> MetricSources:
    """Return what metrics are read from, five seconds after the start."""
    views = world.reader_views()
    health = HealthReader(views, DIMENSIONS.gateways)
    publisher = Publisher(
        Config(),
        MemoryReader(views),
        health,
        EmptyCatalogue(),
        served=MemoryStore(),
        saved=MemoryStore(),
        source="here",
    )
    gate = AdminGate("")
    return MetricSources(
        views=views,
        health=health,
        catalogue=EmptyCatalogue(),
        publisher=publisher,
        meter=meter or RequestMeter(lambda: False),
        stream=EventStream(),
        gate=gate,
        commands=NodeCommands(gate, CommandPipe(), views, lambda *_: None),
        clock_ns=lambda: STARTED_NS + 5_000_000_000,
    )


def sources(**parts: Any) -> Sources:
    """Return sources without anything in them but `parts`."""
    meter = RequestMeter(lambda: False)
    defaults: dict[str, Any] = {
        "meter": meter,
        "metrics": parts.get("metrics"),
        "store": MemoryStore(),
        "missing": list,
        "nodes": NodeTables(),
        "history": HistoryKeeper(1.0, lambda: START_MS),
        "stream": EventStream(),
        "dashboard": Dashboard(),
        "commands": NodeCommands(AdminGate(""), CommandPipe(), None, print),  # type: ignore[arg-type]
        "capacity": None,
        "decisions": None,
        "waterfall": WaterfallKeeper(),
    }
    return Sources(**(defaults | parts))


def filled(data: bytes = b'{"a":1}') -> MemoryStore:
    store = MemoryStore()
    store.publish(data)
    return store


def serve(talk: Callable[[Client], Awaitable[None]], **parts: Any) -> None:
    """Run `talk` against a real server on a free port."""

    async def run() -> None:
        async with TestClient(TestServer(make_app(sources(**parts)))) as client:
            await asyncio.wait_for(talk(client), timeout=DEADLINE_SECONDS)

    try:
        asyncio.run(run())
    finally:
        # aiohttp remembers the handlers of every application, and so what they read from.
        web_app._cached_build_middleware.cache_clear()


def serve_store(
    talk: Callable[[Client], Awaitable[None]],
    store: SnapshotStore,
    missing: list[str] | None = None,
) -> None:
    """Run `talk` against a server of that snapshot."""
    serve(talk, store=store, missing=lambda: missing or [])


async def json_of(client: Client, path: str, status: int = 200) -> Any:
    """Return what a GET is answered, which has to be of that status."""
    response = await client.get(path)
    assert response.status == status
    return json.loads(await response.read())
