import pytest

from scheduler.dispatch.counts import NAMES, Counts, values_of
from scheduler.memory.layout import DISPATCHER_COUNTERS
from scheduler.protocol.records import Assign, CancelJob, Deliver, NodeHealth, Result
from tests.dispatch.desk import Desk, job, only


def test_each_counter_of_the_layout_starts_at_zero() -> None:
    counts = Counts()
    assert {column.name for column in DISPATCHER_COUNTERS.columns} == set(NAMES)
    assert [getattr(counts, name) for name in NAMES] == [0] * len(NAMES)


def test_a_counter_that_is_not_in_the_layout_is_a_mistake() -> None:
    counts = Counts()
    with pytest.raises(AttributeError):
        counts.jobs_of_no_kind_total = 1


def test_submitted_is_completed_and_failed_and_cancelled_and_live() -> None:
    desk = Desk()
    node = desk.node("n", capacity=2)
    for number in range(5):
        desk.submit(number)
    desk.finish(0, node)
    desk.fail(1, node, "NMT_TIMEOUT")
    desk.say(0, CancelJob(job(2), "closed"))
    counts = desk.counts
    ended = (counts.completed_total, counts.failed_total, counts.cancelled_total)
    assert ended == (1, 1, 1)
    assert counts.submitted_total == sum(ended) + counts.in_flight + counts.queued
    assert (counts.in_flight, counts.queued) == (2, 0)


def test_gauges_tell_the_queue_and_its_oldest_job() -> None:
    desk = Desk()
    submitted_ns = desk.now_ns
    desk.submit(1)
    desk.tick(1.0)
    desk.submit(2, requirement=0b001)
    assert (desk.counts.queued, desk.counts.oldest_queued_ns) == (2, submitted_ns)
    assert desk.tables.class_queued[:2].tolist() == [1, 1]
    desk.tick(60.0)
    assert (desk.counts.queued, desk.counts.oldest_queued_ns) == (0, 0)
    assert desk.tables.class_queued[:2].tolist() == [0, 0]


def test_an_assignment_says_when_the_job_came_and_when_its_slot_was_reserved() -> None:
    desk = Desk()
    desk.submit(1)
    came_ns = desk.now_ns
    desk.tick(2.0)
    desk.core.receive(0, NodeHealth(desk.node("n", healthy=False), True, ""), desk.now_ns)
    desk.heard()
    assign = only(Assign, desk.timed)
    assert (assign.submitted_ns, assign.reserved_ns) == (came_ns, came_ns + 2 * 10**9)


def test_a_delivery_says_when_the_result_came() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.submit(1)
    desk.say(0, Result(job(1), 1, node, None, 77))
    assert desk.timed == [(0, Deliver(job(1), 1, node, None, 77))]


def test_all_values_come_in_the_order_of_the_names() -> None:
    counts = Counts()
    for value, name in enumerate(NAMES):
        setattr(counts, name, value)
    assert values_of(counts) == tuple(range(len(NAMES)))
