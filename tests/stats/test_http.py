import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from scheduler.stats.http import make_app
from scheduler.stats.store import MemoryStore, SnapshotStore

Client = TestClient[web.Request, web.Application]


def serve(
    talk: Callable[[Client], Awaitable[None]],
    store: SnapshotStore,
    missing: list[str] | None = None,
) -> None:
    """Run `talk` against a real server on a free port."""

    async def run() -> None:
        async with TestClient(TestServer(make_app(store, lambda: missing or []))) as client:
            await asyncio.wait_for(talk(client), timeout=10)

    asyncio.run(run())


def filled(data: bytes = b'{"a":1}') -> MemoryStore:
    store = MemoryStore()
    store.publish(data)
    return store


def test_health() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/health")
        assert (response.status, await response.text()) == (200, "OK")

    serve(talk, MemoryStore())


def test_ready() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/ready")
        assert (response.status, await response.json()) == (200, {"ready": True})

    serve(talk, filled())


def test_not_ready_says_what_is_missing() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/ready")
        assert response.status == 503
        assert response.content_type == "application/problem+json"
        assert json.loads(await response.read()) == {
            "title": "Service Unavailable",
            "status": 503,
            "missing": ["gateway 1: not running"],
        }

    serve(talk, filled(), ["gateway 1: not running"])


def test_the_snapshot_is_served_byte_for_byte() -> None:
    data = b'{ "a" : 1.50,\n"\xc3\xa9":2 }'

    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        assert await response.read() == data

    serve(talk, filled(data))


def test_an_unchanged_snapshot_is_not_sent_again() -> None:
    store = filled(b"one")

    async def talk(client: Client) -> None:
        etag = (await client.get("/api/v1/stats")).headers["ETag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            response = await client.get("/api/v1/stats", headers={"If-None-Match": known})
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == etag
        store.publish(b"two")
        response = await client.get("/api/v1/stats", headers={"If-None-Match": etag})
        assert (response.status, await response.read()) == (200, b"two")
        assert response.headers["ETag"] != etag

    serve(talk, store)


def test_head_has_no_body() -> None:
    async def talk(client: Client) -> None:
        response = await client.head("/api/v1/stats")
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Content-Length"] == "7"

    serve(talk, filled())


def test_no_snapshot_yet() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 503
        assert json.loads(await response.read())["missing"] == ["snapshot: none yet"]

    serve(talk, MemoryStore())


def test_wrong_path_and_method_are_problems() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/nowhere")
        assert json.loads(await response.read()) == {
            "title": "Not Found",
            "status": 404,
            "detail": "GET /nowhere",
        }
        response = await client.post("/health")
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert response.content_type == "application/problem+json"

    serve(talk, MemoryStore())


def test_a_fault_of_ours_is_a_problem_without_its_insides() -> None:
    class Broken(MemoryStore):
        def latest(self) -> bytes | None:
            raise RuntimeError("secret")

    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 500
        assert "secret" not in await response.text()

    serve(talk, Broken())
