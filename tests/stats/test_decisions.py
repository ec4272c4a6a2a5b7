from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.protocol.decisions import Outcome
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE, job_key_base, node_ref, wire_job_id
from scheduler.selection.scores import UTILIZATION_SCALE
from scheduler.stats.decisions import LIMIT_MAX, DecisionsReader
from tests.stats.operators import Client, json_of, serve
from tests.stats.world import EPOCH, World, make_world

JOB = job_key_base(0, 0) + 1


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        world.add_service("asr")
        world.put("classes", 0, active=1)
        world.views.column("classes", "services")[0, 0] = 1
        yield world


def record(world: World, number: int, **fields: int) -> None:
    defaults = {
        "sequence": number + 1,
        "time_ns": 1_000,
        "job": JOB + number,
        "attempt": 1,
        "outcome": Outcome.PLACED,
        "paired": NO_NODE,
        "node": node_ref(0, 1),
        "runner_up": NO_NODE,
        "shadow": NO_NODE,
        "eligible": 1,
    }
    world.put("decisions", number, **(defaults | fields))


def serve_from(world: World, talk: Any, strategy: str = "least_connections") -> None:
    serve(talk, decisions=DecisionsReader(world.reader_views(), EPOCH, strategy))


def test_decisions_are_told_with_names_latest_first(world: World) -> None:
    world.put_node(0, "first")
    world.put_node(1, "second")
    record(world, 0, runner_up=node_ref(1, 1), runner_up_load=3, load=2, shadow=node_ref(1, 1))
    record(world, 1, outcome=Outcome.QUEUED, attempt=0, node=NO_NODE, eligible=0, queued=4)
    full = list(Exclusion).index(Exclusion.FULL)
    world.views.column("decisions", "excluded")[1, full] = 2
    world.put("dispatcher_counters", 0, decisions_recorded_total=2, decisions_unrecorded_total=7)

    async def talk(client: Client) -> None:
        found = await json_of(client, "/api/v1/decisions")
        assert (found["recorded_total"], found["unrecorded_total"]) == (2, 7)
        queued, placed = found["decisions"]
        assert placed.pop("age_ms") > 0
        assert placed == {
            "job_id": wire_job_id(EPOCH, JOB),
            "attempt": 1,
            "outcome": "placed",
            "services": ["asr"],
            "paired": None,
            "node": "first",
            "load": 2,
            "runner_up": "second",
            "runner_up_load": 3,
            "shadow": "second",
            "eligible": 1,
            "queued": 0,
            "excluded": {},
        }
        assert (queued["outcome"], queued["node"], queued["queued"]) == ("queued", None, 4)
        assert queued["excluded"] == {"no_free_slot": 2}

    serve_from(world, talk)


def test_a_node_that_has_left_is_gone(world: World) -> None:
    world.put_node(0, "later", ref=node_ref(0, 2))
    record(world, 0)

    async def talk(client: Client) -> None:
        [decision] = (await json_of(client, "/api/v1/decisions"))["decisions"]
        assert decision["node"] == "gone"

    serve_from(world, talk)


def test_one_job_or_a_number_of_them_may_be_asked_for(world: World) -> None:
    world.put_node(0, "node")
    for number in range(5):
        record(world, number, job=JOB + number % 2)

    async def talk(client: Client) -> None:
        path = f"/api/v1/decisions?job={wire_job_id(EPOCH, JOB)}"
        assert len((await json_of(client, path))["decisions"]) == 3
        assert len((await json_of(client, f"{path}&limit=2"))["decisions"]) == 2
        assert len((await json_of(client, "/api/v1/decisions?limit=4"))["decisions"]) == 4

    serve_from(world, talk)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 400),
        (f"limit={LIMIT_MAX + 1}", 400),
        ("limit=many", 400),
        ("job=job-of-another-run-1", 404),
        ("job=", 404),
    ],
)
def test_what_can_not_be_asked_for_is_a_problem(world: World, query: str, status: int) -> None:
    async def talk(client: Client) -> None:
        response = await client.get(f"/api/v1/decisions?{query}")
        assert response.status == status
        assert response.content_type == "application/problem+json"

    serve_from(world, talk)


def test_the_load_is_told_as_the_strategy_has_it(world: World) -> None:
    world.put_node(0, "node")
    record(world, 0, load=UTILIZATION_SCALE // 4)

    async def talk(client: Client) -> None:
        found = await json_of(client, "/api/v1/decisions")
        assert found["strategy"] == "least_utilization"
        assert found["decisions"][0]["load"] == 0.25

    serve_from(world, talk, "least_utilization")
