"""Snapshots pushed to whoever watches, as server-sent events.

    id: 17
    event: snapshot
    data: {…}          the bytes of /api/v1/stats

A subscriber that reads slowly misses snapshots, never gets old ones: each waits for the latest.
"""

import asyncio

from aiohttp import web

from scheduler.stats.publisher import Publication
from scheduler.stats.responses import problem

SUBSCRIBERS_MAX = 32
HEARTBEAT_SECONDS = 15.0
WRITE_SECONDS_MAX = 15.0
"""A subscriber whose socket takes nothing for so long is gone."""

_HEARTBEAT = b": alive\n\n"
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back otherwise
}


class EventStream:
    """Sends each publication to all subscribers."""

    def __init__(
        self,
        *,
        subscribers_max: int = SUBSCRIBERS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._subscribers_max = subscribers_max
        self._heartbeat_seconds = heartbeat_seconds
        self._news = asyncio.Event()
        self._frame = b""
        self._closed = False
        self.subscribers = 0

    def observe(self, publication: Publication) -> None:
        """Take what was published."""
        sequence = publication.snapshot.snapshot.sequence
        self._frame = b"id: %d\nevent: snapshot\ndata: %b\n\n" % (sequence, publication.data)
        self._tell()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """Answer with the stream, or 503 where too many watch already."""
        if self._closed or self.subscribers >= self._subscribers_max:
            response = problem(
                503, "Service Unavailable", detail=f"{self.subscribers} streams are open already"
            )
            response.headers["Retry-After"] = "15"
            return response
        self.subscribers += 1
        try:
            return await self._stream(request)
        finally:
            self.subscribers -= 1

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        sent = b""
        try:
            await response.prepare(request)
            while not self._closed:
                if self._frame is not sent:
                    sent = chunk = self._frame
                else:
                    try:
                        await asyncio.wait_for(self._news.wait(), self._heartbeat_seconds)
                        continue
                    except TimeoutError:
                        chunk = _HEARTBEAT
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await response.write(chunk)
        except (ConnectionError, TimeoutError):  # gone, or as good as gone
            if request.transport is not None:
                request.transport.abort()
        return response
