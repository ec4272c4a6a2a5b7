"""The ring of decisions, written by a real core, and by a process that never pauses."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from scheduler.dispatch.tables import Tables
from scheduler.memory.decisions import NodeLabel, node_labels, read_decisions
from scheduler.memory.layout import DECISIONS_MAX, Dimensions
from scheduler.memory.segment import Segment
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import NO_NODE, slot_of
from tests.dispatch.desk import ASR, Desk, job, settings
from tests.stats.world import World, make_world

DIMENSIONS = Dimensions(gateways=2, nodes=8, sessions_per_gateway=4, classes=8)
CONFIG = settings(
    scheduler={
        "job_timeout": {"pending_timeout_seconds": 1},
        "load_balancer": {"shadow_strategy": "least_utilization"},
        "node_health": {"forget_after_seconds": 5},
    },
    limits={"pending_per_class_max": 1},
)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world(DIMENSIONS) as world:
        yield world


@pytest.fixture
def desk(world: World) -> Desk:
    """A core that works in the world's memory."""
    return Desk(CONFIG, tables=Tables(world.views.column, world.views.scores()))


def test_nothing_is_read_before_the_first_decision(world: World, desk: Desk) -> None:
    assert read_decisions(world.reader_views()) == []


def test_a_placed_job_is_recorded_with_what_there_was_to_choose_from(
    world: World, desk: Desk
) -> None:
    first, second = desk.node("first", capacity=2), desk.node("second", capacity=8)
    desk.usage(second, external_jobs=1)
    desk.tick(0.2)
    assert desk.place(7) == first
    (found,) = read_decisions(world.reader_views())
    assert (found.number, found.time_ns, found.job) == (0, desk.now_ns, job(7))
    assert (found.attempt, found.outcome, found.class_index) == (1, Outcome.PLACED, 0)
    assert (found.node, found.load) == (first, 0)
    assert (found.runner_up, found.runner_up_load) == (second, 1)
    assert (found.shadow, found.paired) == (first, NO_NODE)
    assert (found.eligible, found.queued, found.excluded) == (2, 0, {})


def test_each_way_of_finding_no_node_is_recorded_with_its_reasons(world: World, desk: Desk) -> None:
    node = desk.node("n", capacity=1)
    desk.node("deaf", installed=[ASR])
    desk.place(1)
    desk.place(2)  # waits
    desk.place(3)  # is refused
    desk.finish(1, node)  # serves 2
    desk.place(4)  # waits
    desk.tick(1.5)  # too long
    found = read_decisions(world.reader_views())
    assert [(one.job - job(0), one.outcome) for one in found] == [
        (1, Outcome.PLACED),
        (2, Outcome.QUEUED),
        (3, Outcome.REFUSED),
        (2, Outcome.SERVED),
        (4, Outcome.QUEUED),
        (4, Outcome.EXPIRED),
    ]
    waited = found[1]
    assert (waited.node, waited.runner_up, waited.shadow) == (NO_NODE, NO_NODE, NO_NODE)
    assert (waited.attempt, waited.eligible) == (0, 0)
    assert waited.excluded == {"no_free_slot": 1, "service_not_installed": 1}
    assert [one.number for one in found] == list(range(6))


def test_one_jobs_decisions_and_the_last_ones_can_be_asked_for(world: World, desk: Desk) -> None:
    node = desk.node("n", capacity=1)
    desk.place(1)
    desk.place(2)
    desk.finish(1, node)
    views = world.reader_views()
    of_two = read_decisions(views, job=job(2))
    assert [one.outcome for one in of_two] == [Outcome.QUEUED, Outcome.SERVED]
    assert read_decisions(views, job=job(2), last=1) == of_two[1:]
    assert read_decisions(views, last=2) == of_two
    assert read_decisions(views, last=0) == []
    assert read_decisions(views, job=job(3)) == []


def test_a_full_ring_holds_the_latest_in_their_order(world: World, desk: Desk) -> None:
    """As if the ring had gone round twice and a bit."""
    sequence = world.views.column("decisions", "sequence")
    numbers = range(2 * DECISIONS_MAX + 5, 3 * DECISIONS_MAX + 5)
    for number in numbers:
        sequence[number % DECISIONS_MAX] = number + 1
    world.views.column("decisions", "outcome")[:] = Outcome.PLACED
    found = read_decisions(world.reader_views())
    assert [one.number for one in found] == list(numbers)


def test_a_row_being_written_is_left_out(world: World, desk: Desk) -> None:
    desk.node("n", capacity=4)
    for number in range(3):
        desk.place(number)
    world.views.column("decisions", "sequence")[1] = 0
    assert [one.number for one in read_decisions(world.reader_views())] == [0, 2]


WRITER = """
import sys
from scheduler.memory.layout import DECISIONS, DECISIONS_MAX
from scheduler.memory.segment import Segment

views = Segment.attach(int(sys.argv[1]), writable=True).views
columns = {c.name: views.cells("decisions", c.name) for c in DECISIONS.columns if c.width == 1}
sequence = columns.pop("sequence")
outcome = columns.pop("outcome")
number = 0
while True:
    row = number % 64
    sequence[row] = 0
    outcome[row] = 1
    for cells in columns.values():
        cells[row] = number
    number += 64
    sequence[row] = number
    number -= 63
    if number == 64:
        print("writing", flush=True)
"""


def test_what_is_read_is_whole_while_another_process_writes() -> None:
    """The writer puts the same number into all columns of a row."""
    segment = Segment.create(DIMENSIONS, epoch="", started_ms=0, started_ns=0)
    arguments = [sys.executable, "-c", WRITER, str(segment.fd)]
    with subprocess.Popen(arguments, pass_fds=[segment.fd], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            seen = 0
            for _ in range(1_000):
                for one in read_decisions(segment.views):
                    seen += 1
                    assert one.number == one.job + 63
                    assert {one.time_ns, one.node, one.load, one.queued} == {one.job}
        finally:
            writer.kill()
    segment.close()
    assert seen > 0


def test_nodes_are_named_until_another_takes_their_row(world: World, desk: Desk) -> None:
    views = world.reader_views()
    stays, leaves = desk.node("stays", name="For People"), desk.node("leaves")
    assert node_labels(views, [stays, leaves, NO_NODE, stays]) == {
        stays: NodeLabel("stays", "For People"),
        leaves: NodeLabel("leaves", "leaves"),
    }
    desk.lose(leaves)
    desk.usage(stays)
    desk.tick(6.0)
    assert node_labels(views, [leaves]) == {leaves: NodeLabel("leaves", "leaves")}
    follows = desk.node("follows")
    assert slot_of(follows) == slot_of(leaves)
    assert node_labels(views, [leaves, follows]) == {
        leaves: None,
        follows: NodeLabel("follows", "follows"),
    }


def test_a_node_whose_row_stays_torn_is_not_named(world: World, desk: Desk) -> None:
    node = desk.node("n")
    world.views.column("nodes", "row_sequence")[slot_of(node)] += 1
    assert node_labels(world.reader_views(), [node]) == {node: None}


def test_no_references_are_no_nodes(world: World) -> None:
    assert node_labels(world.reader_views(), [NO_NODE]) == {}
