from typing import Any

import pytest

from scheduler.config import LimitSettings
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.pending import Pending
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE, node_ref
from scheduler.protocol.records import Submit
from scheduler.protocol.status import Status


class Queue:
    """Waiting jobs of two classes, and one node that serves both."""

    def __init__(self) -> None:
        placement = Placement(Tables.allocate(4, 4), "least_connections")
        self.few = placement.class_of(0b01, [])
        self.many = placement.class_of(0b11, [])
        self.node = Node(0, node_ref(0, 1), "node")
        self.node.status = Status.READY
        self.node.ready = 0b11
        self.node.classes = [self.few, self.many]
        self.pending = Pending(LimitSettings(pending_per_class_max=2, pending_total_max=3))

    def job(
        self, number: int, *, few: bool = False, paired: int = NO_NODE, attempt: int = 0
    ) -> Job:
        job = Job(0, Submit(number, 0, paired), self.few if few else self.many, now_ns=0)
        job.attempt = attempt
        return job

    def add(self, number: int, **fields: Any) -> None:
        self.pending.add(self.job(number, **fields), 0)

    def is_full_for(self, number: int, **fields: Any) -> bool:
        return self.pending.is_full_for(self.job(number, **fields))

    def serve_all(self) -> list[int]:
        served = []
        while (job := self.pending.next_for(self.node)) is not None:
            self.pending.remove(job)
            served.append(job.key)
        return served


OTHER = node_ref(1, 1)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_the_longest_waiting_is_served_first_over_all_backlogs(queue: Queue) -> None:
    queue.add(1)
    queue.add(2, few=True)
    queue.add(3, paired=queue.node.ref)
    queue.add(4)
    assert queue.serve_all() == [1, 2, 3, 4]
    assert len(queue.pending) == 0
    assert queue.pending.first() is None


def test_failed_over_jobs_are_served_before_all_others(queue: Queue) -> None:
    queue.add(1)
    queue.add(2, few=True, attempt=1)
    queue.add(3, attempt=2)
    assert queue.serve_all() == [2, 3, 1]


def test_a_job_paired_with_another_node_is_not_served(queue: Queue) -> None:
    queue.add(1, paired=OTHER)
    assert queue.serve_all() == []
    assert [job.key for job in queue.pending.paired_with(OTHER)] == [1]


def test_each_class_is_bounded(queue: Queue) -> None:
    queue.add(1)
    assert not queue.is_full_for(2)
    queue.add(2)
    assert queue.is_full_for(3)
    assert not queue.is_full_for(3, few=True)


def test_each_paired_node_is_bounded(queue: Queue) -> None:
    queue.add(1, paired=OTHER)
    queue.add(2, paired=OTHER)
    assert queue.is_full_for(3, paired=OTHER)
    assert not queue.is_full_for(3, paired=queue.node.ref)


def test_the_whole_is_bounded(queue: Queue) -> None:
    queue.add(1)
    queue.add(2)
    assert not queue.is_full_for(4, few=True)
    queue.add(3, few=True)
    assert queue.is_full_for(4, few=True)


def test_a_job_that_failed_over_is_taken_back_into_a_full_queue(queue: Queue) -> None:
    for number in (1, 2):
        queue.add(number)
    queue.add(3, few=True)
    assert not queue.is_full_for(4, attempt=1)


def test_the_next_deadline_is_that_of_the_first_added(queue: Queue) -> None:
    first = queue.job(1, attempt=1)
    queue.pending.add(first, 10)
    queue.pending.add(queue.job(2), 20)
    assert queue.pending.first() is first
    assert first.deadline_ns == 10
