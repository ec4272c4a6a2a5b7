"""Results stay until the job's gateway has them, and no longer."""

import pytest

from scheduler.errors import ArenaFull
from scheduler.gateway.results import KEPT_NS_MAX, ResultShelf
from scheduler.gateway.splice import ResultTail
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import Result, RunningAttempt
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import ARENA_BYTES, World

OWN = job_key_base(0, 0) + 1
FOREIGN = job_key_base(1, 0) + 1
NODE = 5
TAIL = ResultTail(True, False, b',"x":1}')


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(gateways=2)


@pytest.fixture
def shelf(world: World) -> ResultShelf:
    return ResultShelf(0, world.payloads[0])


def test_a_result_for_an_own_job_stays_in_the_process(world: World, shelf: ResultShelf) -> None:
    assert shelf.keep(OWN, 1, NODE, TAIL, 0) == Result(OWN, 1, NODE)
    assert world.count("arena_used_bytes") == 0
    assert shelf.take(OWN, 1, NODE) == TAIL
    assert shelf.take(OWN, 1, NODE) is None


def test_a_result_for_another_gateways_job_lies_in_the_arena_until_released(
    world: World, shelf: ResultShelf
) -> None:
    record = shelf.keep(FOREIGN, 2, NODE, TAIL, 0)
    assert record is not None
    assert record.payload is not None
    payload = world.payloads[1].fetch(record.payload)
    assert payload is not None
    assert ResultTail.decode(payload) == TAIL
    world.payloads[1].release(record.payload)
    shelf.sweep(1)
    assert len(shelf) == 0
    assert world.count("arena_used_bytes") == 0


def test_a_discarded_result_frees_its_room(world: World, shelf: ResultShelf) -> None:
    shelf.keep(FOREIGN, 1, NODE, TAIL, 0)
    shelf.discard(FOREIGN, 2, NODE)
    assert len(shelf) == 1
    shelf.discard(FOREIGN, 1, NODE)
    shelf.discard(FOREIGN, 1, NODE)
    assert len(shelf) == 0
    assert world.count("arena_used_bytes") == 0


@pytest.mark.parametrize("job", [OWN, FOREIGN])
def test_a_second_result_of_an_attempt_is_not_kept(
    world: World, shelf: ResultShelf, job: int
) -> None:
    assert shelf.keep(job, 1, NODE, TAIL, 0) is not None
    used = (world.count("payload_bytes"), world.count("arena_used_bytes"))
    assert shelf.keep(job, 1, NODE, TAIL, 0) is None
    assert (world.count("payload_bytes"), world.count("arena_used_bytes")) == used
    shelf.discard(job, 1, NODE)
    assert world.count("payload_bytes") == world.count("arena_used_bytes") == 0


def test_what_is_told_of_one_node_does_not_hit_anothers_result(shelf: ResultShelf) -> None:
    for node in (NODE, NODE + 1):
        assert shelf.keep(OWN, 1, node, TAIL, 0) is not None
    shelf.discard(OWN, 1, NODE + 1)
    assert shelf.take(OWN, 1, NODE + 1) is None
    assert shelf.take(OWN, 1, NODE) == TAIL


def test_a_result_that_nobody_asks_for_is_freed_in_the_end(
    world: World, shelf: ResultShelf
) -> None:
    shelf.keep(FOREIGN, 1, NODE, TAIL, 10)
    shelf.keep(FOREIGN, 2, NODE, TAIL, 20)
    shelf.sweep(KEPT_NS_MAX + 10)
    assert [record.attempt for record in shelf.records()] == [2]


def test_what_is_kept_can_be_told_again(shelf: ResultShelf) -> None:
    first = shelf.keep(OWN, 1, NODE, TAIL, 0)
    second = shelf.keep(FOREIGN, 3, NODE + 1, TAIL, 0)
    assert list(shelf.records()) == [first, second]
    assert shelf.attempts() == {
        NODE: [RunningAttempt(OWN, 1)],
        NODE + 1: [RunningAttempt(FOREIGN, 3)],
    }


def test_without_room_nothing_is_kept(shelf: ResultShelf) -> None:
    with pytest.raises(ArenaFull):
        shelf.keep(FOREIGN, 1, NODE, ResultTail(False, False, bytes(ARENA_BYTES)), 0)
    assert len(shelf) == 0
