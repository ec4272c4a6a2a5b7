import gzip
import json
from collections.abc import Iterator

import pytest

from scheduler.stats.http import REQUEST_BYTES_MAX
from scheduler.stats.meter import RequestMeter
from scheduler.stats.node_table import NodeTables
from scheduler.stats.store import MemoryStore
from tests.stats.operators import (
    Client,
    Publishing,
    filled,
    json_of,
    metric_sources,
    serve,
    serve_store,
)
from tests.stats.world import World, make_world


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def test_health() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/health")
        assert (response.status, await response.text()) == (200, "OK")

    serve_store(talk, MemoryStore())


def test_ready() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/ready")
        assert (response.status, await response.json()) == (200, {"ready": True})

    serve_store(talk, filled())


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

    serve_store(talk, filled(), ["gateway 1: not running"])


def test_the_snapshot_is_served_byte_for_byte() -> None:
    data = b'{ "a" : 1.50,\n"\xc3\xa9":2 }'

    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        assert await response.read() == data

    serve_store(talk, filled(data))


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

    serve_store(talk, store)


def test_head_has_no_body() -> None:
    async def talk(client: Client) -> None:
        response = await client.head("/api/v1/stats")
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Content-Length"] == "7"

    serve_store(talk, filled())


def test_no_snapshot_yet() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 503
        assert json.loads(await response.read())["missing"] == ["snapshot: none yet"]

    serve_store(talk, MemoryStore())


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

    serve_store(talk, MemoryStore())


def test_a_fault_of_ours_is_a_problem_without_its_insides() -> None:
    class Broken(MemoryStore):
        def latest(self) -> bytes | None:
            raise RuntimeError("secret")

    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/stats")
        assert response.status == 500
        assert "secret" not in await response.text()

    serve_store(talk, Broken())


def test_a_long_snapshot_is_compressed_once_for_those_who_ask() -> None:
    data = b"[%s]" % b",".join(b"%d" % number for number in range(1_000))

    async def talk(client: Client) -> None:
        plain = await client.get("/api/v1/stats", headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        assert await plain.read() == data
        asked = {"Accept-Encoding": "br, gzip"}
        packed = await client.get("/api/v1/stats", headers=asked, auto_decompress=False)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await packed.read()) == data
        assert packed.headers["ETag"] != plain.headers["ETag"]
        assert packed.headers["Vary"] == "Accept-Encoding"
        known = asked | {"If-None-Match": packed.headers["ETag"]}
        assert (await client.get("/api/v1/stats", headers=known)).status == 304

    serve_store(talk, filled(data))


def test_nodes(world: World) -> None:
    world.put_node(0, "a/b ü")
    nodes = NodeTables()

    async def talk(client: Client) -> None:
        for path in ("/api/v1/nodes", "/api/v1/nodes/x"):
            assert (await json_of(client, path, 503))["missing"] == ["snapshot: none yet"]
        nodes.observe(Publishing(world).publish())
        [node] = (await json_of(client, "/api/v1/nodes"))["nodes"]
        assert node["node_id"] == "a/b ü"
        assert await json_of(client, "/api/v1/nodes/a%2Fb%20%C3%BC") == node
        problem = await json_of(client, "/api/v1/nodes/other", 404)
        assert problem["detail"] == "there is no node other"
        etag = (await client.get("/api/v1/nodes")).headers["ETag"]
        known = await client.get("/api/v1/nodes", headers={"If-None-Match": etag})
        assert known.status == 304

    serve(talk, nodes=nodes)


def test_history_is_empty_at_first() -> None:
    async def talk(client: Client) -> None:
        history = await json_of(client, "/api/v1/history")
        assert history.pop("interval_s") == 1.0
        assert all(column == [] for column in history.values())

    serve(talk)


def test_a_huge_request_is_a_problem() -> None:
    async def talk(client: Client) -> None:
        response = await client.post("/health", data=b"x" * (REQUEST_BYTES_MAX + 1))
        assert response.content_type == "application/problem+json"

    serve(talk)


def test_metrics_in_both_forms(world: World) -> None:
    world.count(1, jobs_accepted_total=7)

    async def talk(client: Client) -> None:
        text = await (await client.get("/metrics")).text()
        assert 'scheduler_gateway_jobs_accepted_total{gateway="1"} 7.0' in text
        documents = (await json_of(client, "/api/v1/metrics"))["metrics"]
        found = {document["name"]: document for document in documents}
        samples = found["scheduler_gateway_jobs_accepted_total"]["samples"]
        assert {"labels": {"gateway": "1"}, "value": 7.0} in samples

    serve(talk, metrics=metric_sources(world))


def test_requests_are_counted_by_route(world: World) -> None:
    meter = RequestMeter(lambda: True)

    async def talk(client: Client) -> None:
        for path in ("/api/v1/nodes/a", "/api/v1/nodes/b", "/x/y", "/z", "/api/v1/stats"):
            await client.get(path)
        await client.post("/health")
        assert dict(meter.requests) == {
            ("/api/v1/nodes/{id}", 503): 2,
            ("other", 404): 2,
            ("other", 405): 1,
            ("/api/v1/stats", 200): 1,
        }
        assert (meter.stale_total, meter.durations.sum()) == (1, 6)

    serve(talk, meter=meter, store=filled())
