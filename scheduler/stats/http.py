"""What operators are answered over HTTP; openapi.py describes each path."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from scheduler.stats.assets import Dashboard
from scheduler.stats.capacity import CapacityReader, capacity_json
from scheduler.stats.commands import NodeCommands
from scheduler.stats.decisions import DecisionsReader
from scheduler.stats.events import EventStream
from scheduler.stats.exposition import PrometheusText, metrics_json
from scheduler.stats.history import HistoryKeeper
from scheduler.stats.meter import RequestMeter
from scheduler.stats.metric_readers import MetricSources
from scheduler.stats.node_table import NodeTables
from scheduler.stats.openapi import document
from scheduler.stats.refusals import refusals_json
from scheduler.stats.responses import JSON, Prepared, Recent, problem
from scheduler.stats.store import SnapshotStore
from scheduler.stats.waterfall import WaterfallKeeper

log = structlog.get_logger(__name__)

REQUEST_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Sources:
    """What the answers are made of; `missing` says what the scheduler lacks to be ready."""

    store: SnapshotStore
    missing: Callable[[], list[str]]
    nodes: NodeTables
    history: HistoryKeeper
    stream: EventStream
    dashboard: Dashboard
    meter: RequestMeter
    metrics: MetricSources
    commands: NodeCommands
    capacity: CapacityReader
    decisions: DecisionsReader
    waterfall: WaterfallKeeper


def make_app(sources: Sources) -> web.Application:
    """Return the routes over `sources`."""
    routes = _Routes(sources)
    app = web.Application(
        middlewares=[_measuring(sources.meter), _explain_errors],
        client_max_size=REQUEST_BYTES_MAX,
    )
    router = app.router
    router.add_get("/health", routes.health)
    router.add_get("/ready", routes.ready)
    router.add_get("/api/v1/stats", routes.stats)
    router.add_get("/api/v1/metrics", routes.metrics)
    router.add_get("/metrics", routes.prometheus)
    router.add_get("/api/v1/nodes", routes.nodes)
    router.add_get("/api/v1/nodes/{id}", routes.node)
    router.add_post("/api/v1/nodes/{id}/drain", sources.commands.drain)
    router.add_post("/api/v1/nodes/{id}/resume", sources.commands.resume)
    router.add_get("/api/v1/history", routes.history)
    router.add_get("/api/v1/refusals", routes.refusals)
    router.add_get("/api/v1/capacity", routes.capacity)
    router.add_get("/api/v1/decisions", routes.decisions)
    router.add_get("/api/v1/waterfall", routes.waterfall)
    router.add_get("/api/v1/events", sources.stream.subscribe, allow_head=False)
    router.add_get("/openapi.json", routes.openapi)
    router.add_get("/dashboard", sources.dashboard.page)
    router.add_get("/dashboard/{name:.*}", sources.dashboard.asset)
    app.on_shutdown.append(routes.close)
    return app


def _measuring(meter: RequestMeter) -> Middleware:
    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        started_ns = time.monotonic_ns()
        response = await handler(request)
        meter.count(request, response, started_ns)
        return response

    return measure


@web.middleware
async def _explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = problem(error.status, error.reason, detail=f"{request.method} {request.path}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("request failed", method=request.method, path=request.path)
        return problem(500, "Internal Server Error")


class _Routes:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._snapshot = Prepared(b"")
        self._recent: Recent[Prepared] = Recent()
        self._prometheus = PrometheusText(sources.metrics)
        self._openapi = Prepared(msgspec.json.encode(document()))

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def ready(self, _: web.Request) -> web.Response:
        missing = self._sources.missing()
        if missing:
            return problem(503, "Service Unavailable", missing=missing)
        return web.Response(body=b'{"ready":true}', content_type=JSON)

    async def stats(self, request: web.Request) -> web.Response:
        data = self._sources.store.latest()
        if data is None:
            return _none_yet()
        if data is not self._snapshot.data:
            self._snapshot = Prepared(data)
        return self._snapshot.respond(request)

    async def metrics(self, request: web.Request) -> web.Response:
        sources = self._sources.metrics
        document = self._recent.get(
            "metrics", lambda: Prepared(metrics_json(sources, time.time_ns() // 1_000_000))
        )
        return document.respond(request)

    async def prometheus(self, request: web.Request) -> web.Response:
        text, content_type = self._prometheus.render(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def nodes(self, request: web.Request) -> web.Response:
        table = self._sources.nodes.all()
        return _none_yet() if table is None else table.respond(request)

    async def node(self, request: web.Request) -> web.Response:
        if self._sources.nodes.all() is None:
            return _none_yet()
        node_id = request.match_info["id"]
        node = self._sources.nodes.one(node_id)
        if node is None:
            return problem(404, "Not Found", detail=f"there is no node {node_id}")
        return node.respond(request)

    async def history(self, request: web.Request) -> web.Response:
        return self._sources.history.document().respond(request)

    async def refusals(self, request: web.Request) -> web.Response:
        return Prepared(refusals_json(self._sources.metrics.views)).respond(request)

    async def capacity(self, request: web.Request) -> web.Response:
        data = capacity_json(self._sources.capacity, time.time_ns() // 1_000_000)
        return Prepared(data).respond(request)

    async def decisions(self, request: web.Request) -> web.Response:
        now_ns, now_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        return self._sources.decisions.respond(request, now_ns, now_ms)

    async def waterfall(self, request: web.Request) -> web.Response:
        document = self._sources.waterfall.document()
        return _none_yet() if document is None else document.respond(request)

    async def openapi(self, request: web.Request) -> web.Response:
        return self._openapi.respond(request)

    async def close(self, _: web.Application) -> None:
        self._sources.stream.close()


def _none_yet() -> web.Response:
    return problem(503, "Service Unavailable", missing=["snapshot: none yet"])
