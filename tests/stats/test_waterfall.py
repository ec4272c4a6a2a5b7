from collections.abc import Iterator

import pytest

from scheduler.memory.histogram import Histogram
from scheduler.memory.layout import GATEWAY_LATENCY, LATENCY_SUMS
from scheduler.stats.waterfall import WaterfallKeeper
from tests.stats.operators import START_MS, Client, Publishing, json_of, serve
from tests.stats.world import World, make_world

NAMES = [column.name.removesuffix("_ns") for column in GATEWAY_LATENCY.columns]


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def test_stages_come_in_their_order_and_sums_apart(world: World) -> None:
    publishing, keeper = Publishing(world), WaterfallKeeper()
    for gateway in (0, 1):
        Histogram(world.views, "gateway_latency", "node_ns", gateway).record(4_000_000)
    keeper.observe(publishing.publish(at_seconds=8.0))

    async def talk(client: Client) -> None:
        found = await json_of(client, "/api/v1/waterfall")
        assert found["generated_at_ms"] == START_MS + 8_000
        assert [stage["name"] for stage in found["stages"] + found["sums"]] == NAMES
        assert [stage["name"] for stage in found["sums"]] == list(LATENCY_SUMS)
        node = found["stages"][NAMES.index("node")]
        assert node["count"] == 2
        for figure in ("mean_ms", "p50_ms", "p90_ms", "p99_ms"):
            assert node[figure] == pytest.approx(4, rel=0.13)
        assert node["what"] == "job_assign to job_result"
        assert found["stages"][0] == {
            "name": "receive",
            "what": "last bytes read from the socket to accepted",
            "count": 0,
            "mean_ms": None,
            "p50_ms": None,
            "p90_ms": None,
            "p99_ms": None,
        }

    serve(talk, waterfall=keeper)


def test_the_last_interval_stands_beside_the_whole(world: World) -> None:
    publishing, keeper = Publishing(world), WaterfallKeeper()
    queue = Histogram(world.views, "gateway_latency", "queue_ns", 0)
    queue.record(1_000_000_000)
    keeper.observe(publishing.publish(at_seconds=8.0))
    queue.record(2_000_000)
    keeper.observe(publishing.publish(at_seconds=10.0))

    async def talk(client: Client) -> None:
        found = await json_of(client, "/api/v1/waterfall")
        at = NAMES.index("queue")
        assert found["interval_s"] == 2.0
        assert (found["stages"][at]["count"], found["interval_stages"][at]["count"]) == (2, 1)
        assert found["interval_stages"][at]["mean_ms"] == pytest.approx(2, rel=0.13)

    serve(talk, waterfall=keeper)


def test_before_the_first_publication_there_is_none() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/api/v1/waterfall")
        assert response.status == 503

    serve(talk)
