"""Against a real HTTP server that does everything a hub shouldn't."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scheduler.config import ModelHubSettings
from scheduler.stats import catalog_http
from scheduler.stats.catalog import EmptyCatalogue
from scheduler.stats.catalog_http import BACKOFF_SECONDS_MAX, HttpCatalogue, parse_answer
from scheduler.stats.schema import CatalogueState, ServiceInfo
from tests.stats.hub import Hub, Write, answer, cut_mid_body, endless, listing, silent, trickle
from tests.stats.test_catalog import service

DEADLINE_SECONDS = 10.0


class Local(EmptyCatalogue):
    """As an index file with one service."""

    def services(self) -> list[ServiceInfo]:
        return [msgspec.convert(service("local"), ServiceInfo)]

    def state(self) -> CatalogueState:
        return CatalogueState("file")


class Case:
    """A hub, a catalogue of it, and a way to fetch once."""

    def __init__(self, hub: Hub, catalogue: HttpCatalogue, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.catalogue = catalogue
        self._session = session

    async def fetch(self, write: Write | None = None) -> CatalogueState:
        if write is not None:
            self.hub.write = write
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.catalogue.refresh(self._session)
        return self.catalogue.state()

    @property
    def ids(self) -> list[str]:
        return [entry.service_id for entry in self.catalogue.services()]


@asynccontextmanager
async def a_case(**settings: Any) -> AsyncIterator[Case]:
    hub = Hub()
    port = await hub.start()
    values = {"timeout_seconds": 5, "connect_timeout_seconds": 5} | settings
    catalogue = HttpCatalogue(
        ModelHubSettings(base_url=f"http://127.0.0.1:{port}/hub/", **values), Local(), lambda: 7
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Case(hub, catalogue, session)
    finally:
        await hub.stop()


def test_services_come_from_the_hub_once_it_answered() -> None:
    async def run() -> None:
        async with a_case() as case:
            assert case.ids == ["local"]
            assert case.catalogue.state() == CatalogueState("file")
            state = await case.fetch(listing("tts", "asr", "tts"))
            assert case.ids == ["asr", "tts"]
            assert case.hub.requests == ["GET /hub/api/services HTTP/1.1"]
            assert state == CatalogueState("hub", 7, 7, 0, "", 1, 0)

    asyncio.run(run())


def test_unknown_fields_and_compression_are_fine() -> None:
    entry = service("asr", colour="blue")
    body = gzip.compress(json.dumps({"services": [entry], "page": 1}).encode())

    async def run() -> None:
        async with a_case() as case:
            await case.fetch(answer(body, headers="Content-Encoding: gzip\r\n"))
            assert case.ids == ["asr"]

    asyncio.run(run())


def bomb() -> bytes:
    return gzip.compress(b" " * (catalog_http.RESPONSE_BYTES_MAX + 1))


def listed(value: object) -> bytes:
    return json.dumps({"services": value}).encode()


BAD: dict[str, Write] = {
    "cut mid body": cut_mid_body,
    "endless": endless,
    "closed at once": answer(b"", status="nonsense"),
    "error status": answer(b"{}", status="500 Oops"),
    "not found": answer(listed([]), status="404 Not Found"),
    "empty": answer(b""),
    "no json": answer(b"<html>"),
    "no utf-8": answer(b'{"services": "\xff"}'),
    "deep": answer(b"[" * 100_000),
    "a list": answer(b"[]"),
    "no services": answer(b"{}"),
    "services null": answer(listed(None)),
    "services an object": answer(listed({"asr": service("asr")})),
    "an entry of a wrong type": answer(listed([service("asr"), 5])),
    "a field of a wrong type": answer(listed([service("asr", name=5)])),
    "an entry without fields": answer(listed([{}])),
    "huge": answer(b" " * ((8 << 20) + 1)),
    "compressed huge": answer(bomb(), headers="Content-Encoding: gzip\r\n"),
    "compressed garbage": answer(b"garbage", headers="Content-Encoding: gzip\r\n"),
    "redirect to itself": answer(b"", status="302 Found", headers="Location: /hub/\r\n"),
    "redirect nowhere": answer(b"", status="302 Found", headers="Location: gopher://x\r\n"),
}


@pytest.mark.parametrize("write", BAD.values(), ids=BAD)
def test_a_bad_answer_leaves_the_last_good_one(write: Write) -> None:
    async def run() -> None:
        async with a_case() as case:
            await case.fetch(listing("asr"))
            state = await case.fetch(write)
            assert case.ids == ["asr"]
            assert (state.source, state.fail_count, state.failures_total) == ("hub", 1, 1)
            assert 0 < len(state.last_error) <= catalog_http.ERROR_CHARS_MAX
            state = await case.fetch(listing("nmt"))
            assert case.ids == ["nmt"]
            assert (state.fail_count, state.last_error, state.fetches_total) == (0, "", 3)

    asyncio.run(run())


@pytest.mark.parametrize("write", [silent, trickle], ids=["silent", "trickle"])
def test_a_slow_hub_is_not_waited_for(write: Write) -> None:
    async def run() -> None:
        async with a_case(timeout_seconds=0.1) as case:
            state = await case.fetch(write)
            assert state.fail_count == 1
            assert case.ids == ["local"]

    asyncio.run(run())


def test_a_hub_that_is_down_is_logged_once_and_again_when_it_is_back() -> None:
    async def run() -> None:
        async with a_case() as case:
            await case.hub.stop()
            for failures in (1, 2, 3):
                assert (await case.fetch()).fail_count == failures
            assert case.ids == ["local"]

    with capture_logs() as logs:
        asyncio.run(run())
    assert [entry["event"] for entry in logs] == ["service catalogue not fetched"]


def test_a_fault_below_does_not_end_the_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: bytes) -> list[ServiceInfo]:
        raise RuntimeError("a bug")

    async def run() -> None:
        async with a_case() as case:
            with monkeypatch.context() as patch:
                patch.setattr(catalog_http, "parse_answer", broken)
                assert (await case.fetch()).last_error == "RuntimeError: a bug"
            await case.fetch()
            assert case.ids == ["asr"]

    with capture_logs() as logs:
        asyncio.run(run())
    assert any(entry["log_level"] == "error" for entry in logs)


def test_a_failing_hub_is_asked_less_and_less() -> None:
    async def run() -> None:
        async with a_case(refresh_seconds=30) as case:
            await case.hub.stop()
            pauses = []
            for _ in range(8):
                pauses.append(case.catalogue.pause_seconds())
                await case.fetch()
            assert pauses == [30, 30, 30, 60, 120, 240, 300, BACKOFF_SECONDS_MAX]

    asyncio.run(run())


def test_a_long_refresh_stays_as_it_is() -> None:
    catalogue = HttpCatalogue(ModelHubSettings(refresh_seconds=900), EmptyCatalogue())
    assert catalogue.pause_seconds() == 900


def test_it_goes_on_fetching_until_it_is_cancelled() -> None:
    async def run() -> None:
        async with a_case(refresh_seconds=0.01) as case:
            task = asyncio.create_task(case.catalogue.run())
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(case.hub.requests) < 3:
                    await asyncio.sleep(0.005)
                case.hub.write = cut_mid_body
                while not case.catalogue.state().fail_count:
                    await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert case.ids == ["asr"]

    asyncio.run(run())


@given(st.binary(max_size=200))
def test_any_bytes_either_parse_or_are_refused(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_answer(body)
