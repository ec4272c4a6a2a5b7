import json
from collections.abc import Iterator

import pytest

from scheduler.protocol.codes import code_index
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
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


def exclude(world: World, reason: int, total: int, *refs: int) -> None:
    world.views.column("exclusions", "excluded_total")[0, reason] = total
    first = reason * SAMPLES_MAX
    world.views.column("exclusions", "sample_refs")[0, first : first + len(refs)] = refs


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


def test_several_nodes_are_named_for_a_reason_each_once(world: World) -> None:
    for slot in range(SAMPLES_MAX):
        world.put_node(slot, f"node-{slot}")
    refs = [node_ref(slot, 1) for slot in reversed(range(SAMPLES_MAX))]
    exclude(world, FULL, 9, *refs)
    exclude(world, OFFLINE, 2, refs[1], refs[0], refs[1])
    assert json.loads(refusals_json(world.reader_views()))["samples"] == {
        "offline": ["node-3", "node-4"],
        "no_free_slot": [f"node-{slot}" for slot in reversed(range(SAMPLES_MAX))],
    }


def test_a_node_that_has_left_is_no_sample(world: World) -> None:
    world.put_node(0, "left", status=Status.FREE)
    world.put_node(1, "later", ref=node_ref(1, 2))
    exclude(world, FULL, 1, node_ref(0, 1))
    exclude(world, OFFLINE, 1, node_ref(1, 1))
    assert json.loads(refusals_json(world.reader_views()))["samples"] == {}
