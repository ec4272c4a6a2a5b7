import pytest

from scheduler.dispatch.jobs import Job
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
