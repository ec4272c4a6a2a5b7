import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import CapturingLogger

from scheduler.stats.events import EventStream
from tests.stats.operators import Client, Publishing, json_of, serve
from tests.stats.world import World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


async def next_event(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the lines of the next event by their names; a comment's is ""."""
    lines = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        lines[name] = value
    return lines


async def until(stream: EventStream, subscribers: int) -> None:
    while stream.subscribers != subscribers:
        await asyncio.sleep(0.005)


def test_a_subscriber_gets_the_last_snapshot_and_each_new_one(world: World) -> None:
    publishing, stream = Publishing(world), EventStream()

    async def talk(client: Client) -> None:
        first = publishing.publish()
        stream.observe(first)
        async with client.get("/api/v1/events") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            event = await next_event(response)
            assert event == {"id": "1", "event": "snapshot", "data": first.data.decode()}
            stream.observe(publishing.publish())
            event = await next_event(response)
            assert event["id"] == "2"
            assert json.loads(event["data"])["snapshot"]["sequence"] == 2

    serve(talk, stream=stream)


def test_a_slow_subscriber_gets_the_latest_not_all(world: World) -> None:
    publishing, stream = Publishing(world), EventStream()

    async def talk(client: Client) -> None:
        async with client.get("/api/v1/events") as response:
            await until(stream, 1)
            for _ in range(5):
                stream.observe(publishing.publish())
            assert (await next_event(response))["id"] == "5"

    serve(talk, stream=stream)


def test_silence_is_broken_by_comments() -> None:
    stream = EventStream(heartbeat_seconds=0.01)

    async def talk(client: Client) -> None:
        async with client.get("/api/v1/events") as response:
            for _ in range(2):
                assert await next_event(response) == {"": "alive"}

    serve(talk, stream=stream)


def test_there_are_only_so_many_streams(world: World) -> None:
    stream = EventStream(subscribers_max=1, heartbeat_seconds=0.01)

    async def talk(client: Client) -> None:
        async with client.get("/api/v1/events") as response:
            await next_event(response)
            refused = await json_of(client, "/api/v1/events", 503)
            assert refused["detail"] == "1 streams are open already"
        await until(stream, 0)
        async with client.get("/api/v1/events") as response:
            assert response.status == 200

    serve(talk, stream=stream)


def test_streams_end_when_they_are_closed() -> None:
    stream = EventStream()

    async def talk(client: Client) -> None:
        async with client.get("/api/v1/events") as response:
            await until(stream, 1)
            stream.close()
            assert await response.read() == b""
        assert (await client.get("/api/v1/events")).status == 503

    serve(talk, stream=stream)


def test_a_subscriber_that_reads_nothing_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.stats.events.WRITE_SECONDS_MAX", 0.05)
    publishing, stream = Publishing(world), EventStream()

    class Long:
        def __init__(self, publication: Any) -> None:
            self.snapshot = publication.snapshot
            self.data = b"x" * (64 << 20)

    async def talk(client: Client) -> None:
        async with client.get("/api/v1/events"):
            await until(stream, 1)
            stream.observe(Long(publishing.publish()))  # type: ignore[arg-type]
            await until(stream, 0)

    serve(talk, stream=stream)


def test_a_subscriber_that_left_before_its_answer_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those are that asked while no stats process was there to answer."""
    log = CapturingLogger()
    monkeypatch.setattr("scheduler.stats.http.log", log)

    class Left(EventStream):
        async def _stream(self, request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return await super()._stream(request)

    async def talk(client: Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/api/v1/events")
        assert (await client.get("/health")).status == 200

    serve(talk, stream=Left())
    assert not log.calls
