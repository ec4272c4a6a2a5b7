"""A model hub that can be down, slow, broken or talk garbage."""

import asyncio

from aiohttp import web

SLOW_SECONDS = 30.0
"""Far beyond `model_hub.timeout_seconds` of the scheduler under test."""

CATALOGUE = {
    "services": [
        {
            "service_id": "node-inference",
            "name": "recogniser",
            "latest_version": "1.0.0",
            "variants": [],
        }
    ]
}
GARBAGE = b'{"services": [{"service_id": 7}, "\xff\xfe'


class Hub:
    """An HTTP server on a free port of this machine."""

    def __init__(self) -> None:
        self._trouble = ""
        self._port = 0
        self._site: web.TCPSite | None = None
        app = web.Application()
        app.router.add_get("/api/services", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def start(self) -> str:
        """Serve; return the base URL."""
        await self._runner.setup()
        await self._open()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}"

    async def _open(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def set_trouble(self, way: str) -> None:
        """Be "down", "slow", "errors", "garbage", or well where it is ""."""
        self._trouble = way
        if way == "down" and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
        elif way != "down" and self._site is None:
            await self._open()

    async def _answer(self, _: web.Request) -> web.Response:
        if self._trouble == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        if self._trouble == "errors":
            raise web.HTTPInternalServerError
        if self._trouble == "garbage":
            return web.Response(body=GARBAGE, content_type="application/json")
        return web.json_response(CATALOGUE)

    async def close(self) -> None:
        """End."""
        await self._runner.cleanup()
