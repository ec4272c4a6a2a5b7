"""Flows share what there is by their weights, and a noisy one starves nobody."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.fairness import VirtualClock
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import Assign, CancelJob, Failed, Submit
from tests.dispatch.desk import WHOLE, Desk, every, job, only, settings

NOISY, QUIET = 1, 2


def test_a_flow_that_has_left_begins_at_the_present() -> None:
    clock = VirtualClock()
    tags = [clock.tag(NOISY, 1) for _ in range(3)]
    assert tags[0] < tags[1] < tags[2]
    clock.serve(tags[1])
    for _ in tags:
        clock.leave(NOISY)
    assert clock.tag(NOISY, 1) == clock.tag(QUIET, 1) == tags[1]


@given(st.dictionaries(st.integers(1, 5), st.integers(1, 4), min_size=2, max_size=4))
def test_backlogged_flows_are_served_by_their_weights(weights: dict[int, int]) -> None:
    clock, jobs = VirtualClock(), []
    total = 120
    for flow, weight in weights.items():
        jobs += [(clock.tag(flow, weight), flow) for _ in range(total)]
    served = Counter(flow for _, flow in sorted(jobs)[:total])
    share = total / sum(weights.values())
    for flow, weight in weights.items():
        assert served[flow] == pytest.approx(share * weight, abs=weight + len(weights))


def order_of_service(desk: Desk, node: int, first: int) -> list[int]:
    """Finish the job that runs, again and again; return the numbers of those that follow."""
    served: list[int] = []
    running = first
    while True:
        said = desk.finish(running, node)
        assigned = every(Assign, said)
        if not assigned:
            return served
        running = assigned[0].job - job(0)
        served.append(running)


def submit(desk: Desk, number: int, flow: int, *, requirement: int = WHOLE, **share: Any) -> None:
    desk.say(0, Submit(job(number), requirement, flow=flow, **share))


def test_a_noisy_flow_does_not_starve_a_quiet_one() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    for number in range(6):
        submit(desk, number, NOISY)
    submit(desk, 10, QUIET)
    assert order_of_service(desk, node, 0) == [1, 10, 2, 3, 4, 5]


def test_flows_with_one_job_each_are_served_as_they_came() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    for number in range(6):
        submit(desk, number, flow=100 - number)
    assert order_of_service(desk, node, 0) == [1, 2, 3, 4, 5]


def test_a_weight_of_two_is_served_twice_as_often() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    submit(desk, 0, flow=9)
    for number in range(1, 9):
        submit(desk, number, NOISY, weight=1)
        submit(desk, number + 100, QUIET, weight=2)
    first = order_of_service(desk, node, 0)[:6]
    assert sum(number > 100 for number in first) == 4


def test_a_higher_priority_goes_before_all_others() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    for number in range(3):
        submit(desk, number, NOISY)
    submit(desk, 7, QUIET, priority=1)
    submit(desk, 8, QUIET, priority=1)
    assert order_of_service(desk, node, 0) == [7, 8, 1, 2]


def test_a_full_queue_makes_room_for_the_flow_with_less() -> None:
    desk = Desk(settings(limits={"pending_per_class_max": 3, "pending_total_max": 3}))
    for number in range(3):
        submit(desk, number, NOISY)
    said = desk.say(0, Submit(job(9), WHOLE, flow=QUIET))
    failed = only(Failed, said)
    assert (failed.job, failed.code) == (job(2), "SERVER_BUSY")
    assert failed.retry_after_ms > 0
    assert (desk.counts.shed_total, desk.counts.refused_queue_full_total) == (1, 1)
    assert desk.counts.queued == 3


def test_a_full_queue_refuses_the_flow_that_fills_it() -> None:
    desk = Desk(settings(limits={"pending_per_class_max": 3, "pending_total_max": 3}))
    submit(desk, 0, QUIET)
    for number in (1, 2):
        submit(desk, number, NOISY)
    failed = only(Failed, desk.say(0, Submit(job(9), WHOLE, flow=NOISY)))
    assert failed.job == job(9)
    assert desk.counts.shed_total == 0


def crowded(**more: Any) -> Desk:
    """Return a desk whose queue is full of jobs of one flow, in two classes."""
    desk = Desk(settings(limits={"pending_per_class_max": 9, "pending_total_max": 3}))
    for number, requirement in enumerate((0b001, 0b010, 0b001)):
        submit(desk, number, NOISY, requirement=requirement, **more)
    return desk


@pytest.mark.parametrize("requirement", [0b001, WHOLE])
@pytest.mark.parametrize("kind", ["shared", "paired"])
def test_a_full_total_makes_room_whatever_the_classes(requirement: int, kind: str) -> None:
    desk = crowded()
    paired = desk.node("n", healthy=False) if kind == "paired" else NO_NODE
    said = desk.say(0, Submit(job(9), requirement, paired, flow=QUIET))
    assert only(Failed, said).job == job(2)
    assert (desk.counts.shed_total, desk.counts.queued) == (1, 3)


def test_a_full_total_makes_room_for_a_higher_priority() -> None:
    desk = crowded(priority=1)
    said = desk.say(0, Submit(job(9), WHOLE, flow=NOISY, priority=2))
    assert only(Failed, said).job == job(2)


def test_a_full_total_refuses_the_flow_that_fills_it_in_other_classes() -> None:
    desk = crowded()
    assert only(Failed, desk.say(0, Submit(job(9), WHOLE, flow=NOISY))).job == job(9)


def test_jobs_that_are_cancelled_leave_no_trace_of_their_flow() -> None:
    desk = Desk()
    for number in range(3):
        submit(desk, number, NOISY)
    for number in range(3):
        assert every(Failed, desk.say(0, CancelJob(job(number), "closed"))) == []
    clock = desk.core._flow._pending._clock
    assert (clock._waiting, clock._last_tag) == ({}, {})
