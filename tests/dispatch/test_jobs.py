import pytest

from scheduler.dispatch.jobs import Backlog, Job
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.placement import Placement, RequirementClass
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE, node_ref
from scheduler.protocol.records import Submit
from scheduler.protocol.status import Status
from tests.dispatch.desk import job


@pytest.fixture
def service_class() -> RequirementClass:
    return Placement(Tables.allocate(4, 2), "least_connections").class_of(0b11, [])


def make_node(slot: int = 0, ready: int = 0b11) -> Node:
    node = Node(slot, node_ref(slot, 1), f"node-{slot}")
    node.status = Status.READY
    node.ready = ready
    return node


def make_job(number: int, service_class: RequirementClass, paired: int = NO_NODE) -> Job:
    return Job(3, Submit(job(number, 3), 0, paired), service_class, now_ns=7)


def test_a_job_belongs_to_the_gateway_that_accepted_it(service_class: RequirementClass) -> None:
    made = make_job(1, service_class)
    assert (made.owner, made.submitted_ns, made.attempt) == (3, 7, 0)


def test_a_job_may_run_on_nodes_that_have_what_it_needs(service_class: RequirementClass) -> None:
    made = make_job(1, service_class)
    assert made.may_run_on(make_node())
    assert not made.may_run_on(make_node(ready=0b01))


def test_a_paired_job_may_run_on_its_node_alone(service_class: RequirementClass) -> None:
    made = make_job(1, service_class, paired=make_node(1).ref)
    assert made.may_run_on(make_node(1))
    assert not made.may_run_on(make_node(2))


def test_a_job_may_not_run_where_it_failed(service_class: RequirementClass) -> None:
    made = make_job(1, service_class)
    made.excluded = (make_node(1).ref,)
    assert not made.may_run_on(make_node(1))
    assert made.may_run_on(make_node(2))


def test_a_backlog_serves_failed_over_jobs_first_then_by_arrival(
    service_class: RequirementClass,
) -> None:
    backlog, node = Backlog(), make_node()
    jobs = [make_job(number, service_class) for number in range(4)]
    jobs[2].attempt = jobs[3].attempt = 1
    for sequence, waiting in enumerate(jobs, start=1):
        backlog.add(waiting, sequence)
    served = []
    while backlog:
        first = backlog.first_for(node)
        assert first is not None
        backlog.remove(first)
        served.append(first)
    assert served == [jobs[2], jobs[3], jobs[0], jobs[1]]


def test_a_backlog_passes_over_jobs_that_failed_on_the_node(
    service_class: RequirementClass,
) -> None:
    backlog, node = Backlog(), make_node()
    for number in range(12):  # more than are looked at
        failed = make_job(number, service_class)
        failed.attempt = 1
        failed.excluded = (node.ref,)
        backlog.add(failed, number)
    fresh = make_job(99, service_class)
    backlog.add(fresh, 99)
    assert backlog.first_for(node) is fresh
    assert backlog.first_for(make_node(ready=0)) is None
    assert len(backlog) == 13
