"""What operators are answered over HTTP."""

import hashlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web

from scheduler.stats.store import SnapshotStore

log = structlog.get_logger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(store: SnapshotStore, missing: Callable[[], list[str]]) -> web.Application:
    """Return the routes over `store`; `missing` says what the scheduler lacks to be ready."""
    routes = _Routes(store, missing)
    app = web.Application(middlewares=[_explain_errors])
    app.router.add_get("/health", routes.health)
    app.router.add_get("/ready", routes.ready)
    app.router.add_get("/api/v1/stats", routes.stats)
    return app


def problem(status: int, title: str, **details: object) -> web.Response:
    """Return an error in the form of RFC 9457."""
    return web.Response(
        status=status,
        body=msgspec.json.encode({"title": title, "status": status, **details}),
        content_type="application/problem+json",
    )


@web.middleware
async def _explain_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
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
    def __init__(self, store: SnapshotStore, missing: Callable[[], list[str]]) -> None:
        self._store = store
        self._missing = missing
        self._tagged = b""
        self._etag = ""

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def ready(self, _: web.Request) -> web.Response:
        missing = self._missing()
        if missing:
            return problem(503, "Service Unavailable", missing=missing)
        return web.Response(body=b'{"ready":true}', content_type="application/json")

    async def stats(self, request: web.Request) -> web.Response:
        data = self._store.latest()
        if data is None:
            return problem(503, "Service Unavailable", missing=["snapshot: none yet"])
        etag = self._tag(data)
        known = request.if_none_match or ()
        if any(tag.value in {etag, "*"} for tag in known):
            response = web.Response(status=304)
        else:
            response = web.Response(body=data, content_type="application/json")
        response.etag = etag
        # Kept, but asked about each time: it changes with every refresh.
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _tag(self, data: bytes) -> str:
        if data is not self._tagged:
            self._tagged = data
            self._etag = hashlib.blake2b(data, digest_size=16).hexdigest()
        return self._etag
