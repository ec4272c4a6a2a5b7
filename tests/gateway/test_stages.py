"""Each stage of a job is timed once, by the gateway that knows its end."""

from scheduler.gateway.stages import Stages
from scheduler.memory.layout import GATEWAY_LATENCY
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World


def passed(world: World, gateway: int = 0) -> dict[str, int]:
    """Return how many jobs passed each stage, without those that none did."""
    column = world.segment.views.column
    names = [stage.name for stage in GATEWAY_LATENCY.columns]
    counts = {name: int(column(GATEWAY_LATENCY.name, name)[gateway].sum()) for name in names}
    return {name.removesuffix("_ns"): count for name, count in counts.items() if count}


def test_there_is_a_histogram_for_each_stage() -> None:
    stages = {column.name.removesuffix("_ns") for column in GATEWAY_LATENCY.columns}
    assert set(Stages.__slots__) == stages


def test_a_job_passes_each_stage_once(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    [job] = node.jobs()
    node.recognise(job, "hel")
    node.answer(job)
    assert passed(world) == dict.fromkeys(Stages.__slots__, 1)


def test_two_gateways_time_what_each_of_them_sees(make_world: MakeWorld) -> None:
    world = make_world(gateways=2)
    node, session = world.node(1), world.session(0)
    session.speak()
    node.answer(*node.jobs())
    of_the_node = {"assign": 1, "node": 1}
    of_the_session = {
        name: 1 for name in Stages.__slots__ if name not in of_the_node and name != "first_partial"
    }
    assert passed(world, 0) == of_the_session
    assert passed(world, 1) == of_the_node


def test_a_job_that_fails_over_waits_in_the_queue_once(world: World) -> None:
    first, second, session = world.node(), world.node(), world.session()
    session.speak()
    nodes = {True: first, False: second}
    jobs = first.jobs()
    holder, other = nodes[bool(jobs)], nodes[not jobs]
    [job] = jobs or second.jobs()
    holder.fail(job, "NODE_OVERLOADED")
    [again] = other.jobs()
    other.answer(again)
    counts = passed(world)
    assert (counts["queue"], counts["submit"], counts["dispatch"]) == (1, 1, 1)
    assert (counts["assign"], counts["node"], counts["deliver"]) == (2, 2, 1)


def test_a_result_that_is_held_back_counts_when_it_is_released(world: World) -> None:
    node, session = world.node(max_concurrent_jobs=2), world.session()
    session.speak(0)
    session.speak(1)
    early, late = node.jobs()
    node.answer(late)
    assert "end_to_end" not in passed(world)
    node.answer(early)
    assert passed(world)["end_to_end"] == passed(world)["order"] == 2
