import json
from collections.abc import Iterator

import pytest

from scheduler.protocol.codes import code_index
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import node_ref
from scheduler.protocol.status import Status
from scheduler.stats.refusals import refusals_json
from tests.stats.operators import Client, json_of, metric_sources, serve
from tests.stats.world import World, make_world

FULL, OFFLINE = list(Exclusion).index(Exclusion.FULL), list(Exclusion).index(Exclusion.OFFLINE)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def exclude(world: World, reason: int, total: int, ref: int) -> None:
    world.views.column("exclusions", "excluded_total")[0, reason] = total
    world.views.column("exclusions", "sample_ref")[0, reason] = ref


def test_only_what_happened_is_told(world: World) -> None:
    world.views.column("gateway_codes", "refusals_by_code_total")[1, code_index("SERVER_BUSY")] = 2
    world.put_node(3, "busy")
    exclude(world, FULL, 7, node_ref(3, 1))

    async def talk(client: Client) -> None:
        assert await json_of(client, "/api/v1/refusals") == {
            "excluded": {"no_free_slot": 7},
            "failed_by_code": {},
            "refused_by_code": {"SERVER_BUSY": 2},
            "samples": {"no_free_slot": ["busy"]},
        }

    serve(talk, metrics=metric_sources(world))


def test_a_node_that_has_left_is_no_sample(world: World) -> None:
    world.put_node(0, "left", status=Status.FREE)
    world.put_node(1, "later", ref=node_ref(1, 2))
    exclude(world, FULL, 1, node_ref(0, 1))
    exclude(world, OFFLINE, 1, node_ref(1, 1))
    assert json.loads(refusals_json(world.reader_views()))["samples"] == {}
