"""The operations port of a made-up scheduler, for the page alone.

It shows the page what a real one rarely has: thousands of nodes, hostile names, a snapshot that
stops being renewed. To work on the page by hand::

    python -m tests.browser.stub --nodes 5000
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from aiohttp import web

import scheduler.stats
from tests.browser.stub_data import Json, StubData

FOLDER = Path(scheduler.stats.__file__).parent / "dashboard"
ADMIN_TOKEN = "letmein"  # noqa: S105 - of the stub
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""As strict as can be, so that the page works under whatever the real server sends."""

_START_SECONDS_MAX = 10.0
T = TypeVar("T")


class Stub:
    """Runs in a thread of its own: `with Stub(StubData(50)) as stub: … stub.url`."""

    def __init__(self, data: StubData, *, port: int = 0) -> None:
        self.data = data
        self.publishing = True
        """Without it the last snapshot stays, as with a stats process that hangs."""
        self.requests: list[str] = []
        self.commands: list[Json] = []
        self.command_problem: tuple[int, str] | None = None
        self.broken: set[str] = set()
        """Paths that are answered with 500."""
        self.streams_max = 4
        self.streams: set[web.StreamResponse] = set()
        self._port = port
        self._snapshot = b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._publish()
        self._thread.start()
        self.call(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop)
        self.call(_end_others)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def stop_serving(self) -> None:
        """Be gone, as a scheduler that was stopped; the port stays known."""
        self.call(self._stop)

    def make_old(self, by_ms: int) -> None:
        """Let the last snapshot be from before."""
        self._snapshot = json.dumps(self.data.snapshot(_now_ms() - by_ms)).encode()

    def serve_again(self) -> None:
        """Come back on the same port as another run."""
        self.data.source = "e5f60718-0"
        self.data.sequence = 0
        self.data.uptime_s = 0.0
        self._publish()
        self.call(self._start)

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the stub's thread and return what it returns."""
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(_START_SECONDS_MAX)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._note])
        app.add_routes(
            [
                web.get("/ready", self._ready),
                web.get("/api/v1/stats", self._stats),
                web.get("/api/v1/nodes", self._nodes),
                web.get("/api/v1/history", self._history),
                web.get("/api/v1/refusals", self._refusals),
                web.get("/api/v1/waterfall", self._waterfall),
                web.get("/api/v1/capacity", self._capacity),
                web.get("/api/v1/decisions", self._decisions),
                web.get("/api/v1/metrics", self._metrics),
                web.get("/api/v1/events", self._events),
                web.post("/api/v1/nodes/{node_id}/{command:drain|resume}", self._command),
                web.get("/dashboard", self._redirect),
                web.get("/dashboard/{name:.*}", self._file),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._refreshing = asyncio.ensure_future(self._refresh())

    async def _stop(self) -> None:
        if self._runner is None:
            return
        self._refreshing.cancel()
        with suppress(asyncio.CancelledError):
            await self._refreshing
        await self._runner.cleanup()
        self._runner = None

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self.data.interval_s)
            if self.publishing:
                self._publish()
                await self._tell()

    def _publish(self) -> None:
        now_ms = _now_ms()
        self.data.advance(now_ms)
        self._snapshot = json.dumps(self.data.snapshot(now_ms)).encode()

    async def _tell(self) -> None:
        event = b"event: snapshot\nid: %d\ndata: %s\n\n" % (self.data.sequence, self._snapshot)
        for stream in tuple(self.streams):
            try:
                await stream.write(event)
            except ConnectionError:
                self.streams.discard(stream)

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if request.path in self.broken:
            return _problem(500, "Internal Server Error")
        response: web.StreamResponse = await handler(request)
        return response

    async def _redirect(self, _: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": "dashboard/"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = (FOLDER / (request.match_info["name"] or "index.html")).resolve()
        if not path.is_relative_to(FOLDER) or not path.is_file():
            raise web.HTTPNotFound
        headers = {"Content-Security-Policy": CSP, "Cache-Control": "no-cache"}
        return web.FileResponse(path, headers=headers)

    async def _ready(self, _: web.Request) -> web.Response:
        if self.data.missing:
            return _problem(503, "Service Unavailable", missing=self.data.missing)
        return web.json_response({"ready": True})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.Response(body=self._snapshot, content_type="application/json")

    async def _nodes(self, _: web.Request) -> web.Response:
        return web.json_response({"generated_at_ms": 0, "nodes": self.data.nodes})

    async def _history(self, _: web.Request) -> web.Response:
        return web.json_response(self.data.history())

    async def _refusals(self, _: web.Request) -> web.Response:
        return web.json_response(self.data.refusals())

    async def _waterfall(self, _: web.Request) -> web.Response:
        return web.json_response(self.data.waterfall(_now_ms()))

    async def _capacity(self, _: web.Request) -> web.Response:
        return web.json_response(self.data.capacity(_now_ms()))

    async def _decisions(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", "100"))
        return web.json_response(self.data.decisions(_now_ms(), limit))

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.json_response(self.data.metrics(_now_ms()))

    async def _command(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {ADMIN_TOKEN}":
            return _problem(401, "Unauthorized", detail="the admin token is wrong")
        if self.command_problem is not None:
            status, detail = self.command_problem
            return _problem(status, "Refused", detail=detail)
        node = self.data.find(request.match_info["node_id"])
        if node is None:
            return _problem(404, "Not Found", detail="no such node")
        command = request.match_info["command"]
        body = await request.json() if request.can_read_body else {}
        self.commands.append({"node_id": node["node_id"], "command": command, **body})
        node["status"] = {"drain": "draining", "resume": "registering"}[command]
        return web.json_response({"accepted": True}, status=202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self.streams) >= self.streams_max:
            return _problem(503, "Service Unavailable")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.streams.add(response)
        try:
            await response.write(b"event: snapshot\ndata: %s\n\n" % self._snapshot)
            while True:
                await asyncio.sleep(15)
                await response.write(b": here\n\n")
        except ConnectionError:
            return response
        finally:
            self.streams.discard(response)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _end_others() -> None:
    """Cancel what handlers still wait for, so that the loop can be closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _problem(status: int, title: str, **details: object) -> web.Response:
    return web.json_response(
        {"title": title, "status": status, **details},
        status=status,
        content_type="application/problem+json",
    )


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the dashboard over made-up data.")
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--port", type=int, default=5_099)
    options = parser.parse_args()
    data = StubData(options.nodes)
    data.fill_history(time.time_ns() // 1_000_000)
    with Stub(data, port=options.port) as stub, suppress(KeyboardInterrupt):
        print(f"{stub.url}/dashboard, admin token {ADMIN_TOKEN}")  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
