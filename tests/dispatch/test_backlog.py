"""Who waits stands in order, whoever leaves, and the longest flow makes room."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.dispatch.backlog import Backlog
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.placement import Placement, RequirementClass
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import node_ref
from scheduler.protocol.records import Submit
from scheduler.protocol.status import Status
from tests.dispatch.desk import job


def make_class() -> RequirementClass:
    return Placement(Tables.allocate(4, 2), "least_connections").class_of(0b11, [])


def make_node(slot: int = 0, ready: int = 0b11) -> Node:
    node = Node(slot, node_ref(slot, 1), f"node-{slot}")
    node.status = Status.READY
    node.ready = ready
    return node


class Waiting:
    """A backlog whose jobs are ordered by arrival."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.service_class = make_class()
        self._sequence = 0

    def make(self, number: int, *, attempt: int = 0, **share: Any) -> Job:
        made = Job(0, Submit(job(number), 0, **share), self.service_class, now_ns=0)
        made.attempt = attempt
        return made

    def add(self, number: int, **fields: Any) -> Job:
        self._sequence += 1
        made = self.make(number, **fields)
        made.order = (0 if made.attempt else 1, -made.record.priority, 0, self._sequence)
        self.backlog.add(made)
        return made

    def serve_all(self, node: Node) -> list[Job]:
        served = []
        while (first := self.backlog.first_for(node)) is not None:
            self.backlog.remove(first)
            served.append(first)
        return served


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_failed_over_jobs_are_served_first_then_by_order(waiting: Waiting) -> None:
    jobs = [waiting.add(number, attempt=int(number > 1)) for number in range(4)]
    assert waiting.serve_all(make_node()) == [jobs[2], jobs[3], jobs[0], jobs[1]]
    assert len(waiting.backlog) == 0


def test_jobs_that_failed_on_the_node_are_passed_over(waiting: Waiting) -> None:
    node = make_node()
    for number in range(12):  # more than are looked at
        waiting.add(number, attempt=1).excluded = (node.ref,)
    fresh = waiting.add(99)
    assert waiting.backlog.first_for(node) is fresh
    assert waiting.backlog.first_for(make_node(ready=0)) is None
    assert len(waiting.backlog) == 13


def test_fresh_jobs_behind_one_that_may_not_run_here_are_found(waiting: Waiting) -> None:
    node = make_node()
    jobs = [waiting.add(number) for number in range(4)]
    for made in jobs[:2]:
        made.excluded = (node.ref,)
    assert waiting.serve_all(node) == jobs[2:]
    assert waiting.backlog.first() is jobs[0]


def test_jobs_that_leave_are_not_found_again(waiting: Waiting) -> None:
    jobs = [waiting.add(number) for number in range(300)]
    for made in jobs[:-1]:
        waiting.backlog.remove(made)
    assert waiting.backlog.first() is jobs[-1]
    assert len(waiting.backlog._heap) <= 2 + 64


def test_the_longest_flow_makes_room_for_a_shorter_one(waiting: Waiting) -> None:
    for number in range(4):
        newest = waiting.add(number, flow=1)
    assert waiting.backlog.victim_for(waiting.make(9, flow=2)) is newest


@pytest.mark.parametrize("own", [2, 3])
def test_a_flow_that_would_be_as_long_has_to_go_itself(waiting: Waiting, own: int) -> None:
    for number in range(3):
        waiting.add(number, flow=1)
    for number in range(own):
        waiting.add(10 + number, flow=2)
    assert waiting.backlog.victim_for(waiting.make(99, flow=2)) is None


def test_a_lower_priority_makes_room_however_short_it_is(waiting: Waiting) -> None:
    low = waiting.add(1, flow=1)
    for number in range(2, 6):
        waiting.add(number, flow=2, priority=3)
    assert waiting.backlog.victim_for(waiting.make(9, flow=2, priority=3)) is low
    assert waiting.backlog.victim_for(waiting.make(9, flow=5, priority=0)) is None


def test_failed_over_jobs_make_no_room(waiting: Waiting) -> None:
    for number in range(5):
        waiting.add(number, flow=1, attempt=1)
    assert waiting.backlog.victim_for(waiting.make(9, flow=2)) is None


class BacklogMachine(RuleBasedStateMachine):
    """Whatever comes and goes, the backlog agrees with a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.jobs: list[Job] = []
        self.number = 0

    @rule(flow=st.integers(0, 3), priority=st.integers(0, 1), attempt=st.integers(0, 1))
    def add(self, flow: int, priority: int, attempt: int) -> None:
        self.number += 1
        self.jobs.append(
            self.waiting.add(self.number, flow=flow, priority=priority, attempt=attempt)
        )

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        leaving = data.draw(st.sampled_from(self.jobs))
        self.jobs.remove(leaving)
        self.waiting.backlog.remove(leaving)

    @invariant()
    def the_first_is_the_least(self) -> None:
        fresh = [made for made in self.jobs if not made.attempt]
        assert self.waiting.backlog.first() is min(fresh, key=lambda m: m.order, default=None)
        assert set(self.waiting.backlog) == set(self.jobs)

    @invariant()
    def room_is_made_by_the_longest(self) -> None:
        fresh = [made for made in self.jobs if not made.attempt]
        newcomer = self.waiting.make(10**6, flow=9, priority=0)
        lengths = Counter(m.record.flow for m in fresh if m.record.priority == 0)
        victim = self.waiting.backlog.victim_for(newcomer)
        longest = max(lengths.values(), default=0)
        assert (victim is not None) == (longest > 1)
        if victim is not None:
            flow = victim.record.flow
            assert lengths[flow] == longest
            of_flow = [m for m in fresh if m.record.flow == flow and m.record.priority == 0]
            assert victim is of_flow[-1]


TestBacklogMachine = BacklogMachine.TestCase
TestBacklogMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
