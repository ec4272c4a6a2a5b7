from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from scheduler.config import CoreServicesSettings, SchedulerSettings
from scheduler.protocol.status import Status
from scheduler.stats.capacity import Blocked, CapacityReader, ClassCapacity
from tests.stats.operators import Client, json_of, serve
from tests.stats.world import World, make_world

SETTINGS = SchedulerSettings(
    core_services=CoreServicesSettings(
        asr_service_id="asr", nmt_service_id="nmt", tts_service_id=""
    )
)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        world.add_service("asr")
        world.add_service("nmt")
        yield world


def classes(world: World) -> list[ClassCapacity]:
    return CapacityReader(world.reader_views(), SETTINGS).read(0).classes


def use_class(world: World, bits: int, **values: Any) -> None:
    world.put("classes", 0, active=1, **values)
    world.views.column("classes", "services")[0, 0] = bits


def put_node(world: World, slot: int, **values: Any) -> None:
    services = {"installed": ("asr", "nmt"), "ready": ("asr", "nmt")}
    world.put_node(slot, f"node-{slot}", **(services | {"public": 1, "capacity": 4} | values))


def test_before_the_first_job_the_whole_pipeline_is_told(world: World) -> None:
    put_node(world, 0, in_flight=1)
    put_node(world, 1)
    [whole] = classes(world)
    assert whole == ClassCapacity(["asr", "nmt"], 7, 2, 0, 100, "no_free_slot", {})


def test_each_class_that_jobs_asked_for_is_told(world: World) -> None:
    put_node(world, 0, ready=("asr",))
    use_class(world, 0b01, queued=3, retry_after_ms=700)
    whole, asr = classes(world)
    assert (whole.services, whole.fits_now, whole.blocks_next) == (
        ["asr", "nmt"],
        0,
        "service_not_ready",
    )
    assert whole.blocked == {"service_not_ready": Blocked(1, 4)}
    assert (asr.services, asr.fits_now, asr.eligible_nodes) == (["asr"], 4, 1)
    assert (asr.queued, asr.retry_after_ms) == (3, 700)


def test_what_blocks_the_next_job_is_what_keeps_most_slots_back(world: World) -> None:
    put_node(world, 0, in_flight=4)
    put_node(world, 1, in_flight=4)
    put_node(world, 2, status=Status.DRAINING)
    [whole] = classes(world)
    assert (whole.fits_now, whole.blocks_next) == (0, "draining")
    assert whole.retry_after_ms == 100


def test_without_nodes_a_node_has_to_come_first(world: World) -> None:
    [whole] = classes(world)
    assert (whole.fits_now, whole.blocks_next, whole.retry_after_ms) == (0, "no_nodes", 5_000)


def test_a_service_that_no_node_ever_had_is_not_installed(world: World) -> None:
    put_node(world, 0)
    settings = SchedulerSettings(core_services=CoreServicesSettings(asr_service_id="unheard of"))
    [whole] = CapacityReader(world.reader_views(), settings).read(0).classes
    assert (whole.fits_now, whole.blocks_next) == (0, "service_not_installed")


def test_it_is_served_as_of_now(world: World) -> None:
    put_node(world, 0)
    world.put("dispatcher_counters", 0, queued=2)

    async def talk(client: Client) -> None:
        first = await json_of(client, "/api/v1/capacity")
        assert first["queued"] == 2
        assert first["generated_at_ms"] > 0
        assert first["classes"][0]["fits_now"] == 4
        world.put("nodes", 0, in_flight=3)
        assert (await json_of(client, "/api/v1/capacity"))["classes"][0]["fits_now"] == 1

    serve(talk, capacity=CapacityReader(world.reader_views(), SETTINGS))


def test_classes_are_told_in_full_when_encoded(world: World) -> None:
    [whole] = msgspec.to_builtins(classes(world))
    assert set(whole) == set(ClassCapacity.__struct_fields__)
