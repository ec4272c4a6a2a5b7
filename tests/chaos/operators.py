"""Operators who look at everything all the time, and drain and resume nodes."""

import asyncio
from collections import Counter
from contextlib import suppress

import aiohttp

PATHS = (
    "/health",
    "/ready",
    "/metrics",
    "/api/v1/stats",
    "/api/v1/nodes",
    "/api/v1/history",
    "/api/v1/refusals",
    "/api/v1/capacity",
    "/api/v1/waterfall",
    "/api/v1/decisions?limit=100",
    "/api/v1/metrics",
)
REQUEST_SECONDS_MAX = 10.0
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError)


class Operators:
    """Several at once, each with a connection of its own."""

    def __init__(self, ops_url: str, token: str) -> None:
        self._url = ops_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )
        self.answers: Counter[str] = Counter()
        """Requests by status; "no answer" where the stats process was not there."""

    async def read_on(self, pause_seconds: float) -> None:
        """Ask for one thing after the other, for ever."""
        while True:
            for path in PATHS:
                await self.get(path)
                await asyncio.sleep(pause_seconds)

    async def follow(self) -> None:
        """Follow the stream of events, for ever."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_SECONDS_MAX)
        while True:
            with suppress(*TROUBLE):
                async with self._http.get(f"{self._url}/api/v1/events", timeout=timeout) as stream:
                    async for _ in stream.content:
                        pass
            await asyncio.sleep(0.2)

    async def get(self, path: str) -> int:
        """Return the status of an answer read to its end, 0 where there was none."""
        try:
            async with self._http.get(self._url + path) as answer:
                await answer.read()
                self.answers[str(answer.status)] += 1
                return answer.status
        except TROUBLE:
            self.answers["no answer"] += 1
            return 0

    async def command(self, node_id: str, command: str) -> int:
        """Drain or resume a node; return the status, 0 where nobody answered."""
        url = f"{self._url}/api/v1/nodes/{node_id}/{command}"
        body = {"reason": "chaos"}
        try:
            async with self._http.post(url, json=body, headers=self._headers) as answer:
                await answer.read()
                return answer.status
        except TROUBLE:
            return 0

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()
