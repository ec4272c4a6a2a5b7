"""The service catalogue of a model hub, fetched in the background.

    idle ──refresh_seconds──► fetching ──good──► idle, the services replaced
                                 └──bad──► idle, the services as they were; from the third
                                           failure in a row on twice as long, up to 300 s

Nobody waits for a fetch: what is known is told, however old. Before the first good one that is
what the local index holds.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

import aiohttp
import msgspec
import structlog
from msgspec import Meta, Struct

from scheduler import __version__
from scheduler.config import ModelHubSettings
from scheduler.stats.catalog import HOSTILE_JSON, ServiceCatalogue
from scheduler.stats.schema import CatalogueState, ServiceInfo

log = structlog.get_logger(__name__)

PATH = "/api/services"
RESPONSE_BYTES_MAX = 8 << 20
ERROR_CHARS_MAX = 200
FAILURES_AT_FULL_PACE = 2
BACKOFF_SECONDS_MAX = 300.0

_CHUNK_BYTES = 64 << 10
_SERVICES_MAX = 100_000


class _Answer(Struct):
    """What the hub answers; other fields are its own business."""

    services: Annotated[list[ServiceInfo], Meta(max_length=_SERVICES_MAX)]


class HubError(Exception):
    """The hub answered something that is no catalogue."""


class HttpCatalogue:
    """The hub's services as of the last good fetch. `run` fetches; the rest only tells."""

    def __init__(
        self,
        settings: ModelHubSettings,
        fallback: ServiceCatalogue,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`fallback` knows the services until the first good fetch."""
        self._url = settings.base_url.rstrip("/") + PATH
        self._refresh_seconds = settings.refresh_seconds
        self._timeout = aiohttp.ClientTimeout(
            total=settings.timeout_seconds, sock_connect=settings.connect_timeout_seconds
        )
        self._fallback = fallback
        self._now_ms = now_ms
        self._services: list[ServiceInfo] | None = None
        self._fetched_at_ms: int | None = None
        self._last_success_at_ms: int | None = None
        self._failures_in_row = 0
        self._last_error = ""
        self._fetches_total = 0
        self._failures_total = 0

    def services(self) -> list[ServiceInfo]:
        """Return the services as last known, by id."""
        return self._fallback.services() if self._services is None else self._services

    def state(self) -> CatalogueState:
        """Return where the services come from and how the last fetches went."""
        known = self._services is not None
        return CatalogueState(
            source="hub" if known else self._fallback.state().source,
            fetched_at_ms=self._fetched_at_ms,
            last_success_at_ms=self._last_success_at_ms,
            fail_count=self._failures_in_row,
            last_error=self._last_error,
            fetches_total=self._fetches_total,
            failures_total=self._failures_total,
        )

    async def run(self) -> None:
        """Fetch again and again, until cancelled."""
        # Nothing is kept open between two fetches: the hub may be another one by then.
        connector = aiohttp.TCPConnector(force_close=True, limit=1)
        headers = {"User-Agent": f"lingua-scheduler/{__version__}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            while True:
                await self.refresh(session)
                await asyncio.sleep(self.pause_seconds())

    async def refresh(self, session: aiohttp.ClientSession) -> None:
        """Fetch once; a failure changes nothing but the state."""
        self._fetches_total += 1
        try:
            async with asyncio.timeout(self._timeout.total):
                services = await self._fetch(session)
        except TimeoutError as error:
            self._fail(str(error) or f"no answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, HubError, OSError, *HOSTILE_JSON) as error:
            self._fail(f"{type(error).__name__}: {error}")
        except Exception as error:  # whatever a hub brings about below must not end the fetching
            log.exception("fetching the service catalogue failed")
            self._fail(f"{type(error).__name__}: {error}")
        else:
            self._succeed(services)

    def pause_seconds(self) -> float:
        """Return the time until the next fetch."""
        doublings = max(0, self._failures_in_row - FAILURES_AT_FULL_PACE)
        longest = max(BACKOFF_SECONDS_MAX, self._refresh_seconds)
        return min(self._refresh_seconds * 2.0 ** min(doublings, 32), longest)

    async def _fetch(self, session: aiohttp.ClientSession) -> list[ServiceInfo]:
        async with session.get(self._url, timeout=self._timeout) as response:
            if response.status != 200:
                raise HubError(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > RESPONSE_BYTES_MAX:  # also of what was compressed
                    raise HubError(f"more than {RESPONSE_BYTES_MAX >> 20} MiB")
        # In a thread: megabytes of garbage would hold up the answers to operators.
        return await asyncio.to_thread(parse_answer, bytes(body))

    def _succeed(self, services: list[ServiceInfo]) -> None:
        now_ms = self._now_ms()
        if self._failures_in_row:
            log.info("model hub answers again", failures=self._failures_in_row)
        self._services = services
        self._fetched_at_ms = self._last_success_at_ms = now_ms
        self._failures_in_row = 0
        self._last_error = ""

    def _fail(self, problem: str) -> None:
        self._fetched_at_ms = self._now_ms()
        self._failures_in_row += 1
        self._failures_total += 1
        problem = problem[:ERROR_CHARS_MAX]
        if problem != self._last_error:
            self._last_error = problem
            log.warning("service catalogue not fetched", url=self._url, problem=problem)


def parse_answer(body: bytes) -> list[ServiceInfo]:
    """Return the services in the hub's answer, by id; of two with one id the first.

    Raises ValueError or RecursionError for anything but a list of whole entries: half a catalogue
    would look as if services had been withdrawn.
    """
    answer = msgspec.json.decode(body, type=_Answer)
    by_id: dict[str, ServiceInfo] = {}
    for service in answer.services:
        by_id.setdefault(service.service_id, service)
    return [by_id[service_id] for service_id in sorted(by_id)]
