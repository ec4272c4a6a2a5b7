"""Load that was lost is found and freed; what is only on its way is left alone."""

import pytest

from scheduler.dispatch import audit as module
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import (
    Assign,
    AttemptLost,
    AuditNode,
    Deliver,
    Dispatched,
    NodeGone,
    RunningAttempt,
)
from scheduler.selection.scores import INFINITE
from tests.dispatch.desk import Desk, Said, every, job, only, settings

ONE_ATTEMPT = settings(scheduler={"job_timeout": {"failover_max_attempts": 1}})
LOOKS = module.ASK_AFTER_LOOKS


def look(desk: Desk, times: int) -> Said:
    return [said for _ in range(times) for said in desk.tick(0.1)]


def hold(desk: Desk, node: int, attempts: int) -> None:
    """Write what the node's gateway knows to run there."""
    desk.tables.nodes.usage_ref[slot_of(node)] = node
    desk.tables.nodes.held[slot_of(node)] = attempts


def leaky() -> tuple[Desk, int]:
    """Return a desk with a job on a node whose gateway doesn't know of it."""
    desk = Desk()
    node = desk.node("leaky")
    desk.usage(node)
    desk.place(1)
    hold(desk, node, 0)
    return desk, node


def test_a_count_that_differs_for_a_second_is_asked_about_by_name() -> None:
    desk, node = leaky()
    assert every(AuditNode, look(desk, LOOKS - 1)) == []
    asked = only(AuditNode, look(desk, 1))
    assert asked == AuditNode(node, [RunningAttempt(job(1), 1)])
    assert desk.counts.audits_total == 1


def test_a_count_that_agrees_meanwhile_is_not_asked_about() -> None:
    desk, node = leaky()
    look(desk, LOOKS - 1)
    hold(desk, node, 1)
    look(desk, 1)
    hold(desk, node, 0)
    assert every(AuditNode, look(desk, LOOKS - 1)) == []
    assert desk.tables.nodes.audit_looks[slot_of(node)] == LOOKS - 1


def test_it_is_asked_again_while_it_differs() -> None:
    desk, node = leaky()
    assert len(every(AuditNode, look(desk, 3 * LOOKS))) == 3
    assert desk.tables.nodes.audit_looks[slot_of(node)] == 3 * LOOKS


def test_a_lost_attempt_frees_its_slot_and_the_job_runs_again() -> None:
    desk, node = leaky()
    said = desk.say(0, AttemptLost(job(1), 1, node))
    assert only(Assign, said) == Assign(job(1), 2, node, None)
    assert desk.in_flight(node) == 1
    assert desk.counts.audit_freed_total == 1
    assert desk.tables.nodes.audit_freed_total[slot_of(node)] == 1
    assert ("audit", f"leaky did not hold job {job(1):X}.1: freed") in desk.notes


def test_a_lost_attempt_was_not_the_nodes_fault() -> None:
    desk = Desk(ONE_ATTEMPT)
    node = desk.node("n")
    desk.place(1)
    desk.say(0, AttemptLost(job(1), 1, node))
    assert desk.counts.failed_total == 1
    assert desk.in_flight(node) == 0
    assert desk.place(2) == node


def test_an_attempt_whose_result_came_first_is_not_lost() -> None:
    desk, node = leaky()
    assert only(Deliver, desk.finish(1, node)).job == job(1)
    assert desk.say(0, AttemptLost(job(1), 1, node)) == []
    assert desk.counts.audit_freed_total == 0


@pytest.mark.parametrize(("attempt", "offset"), [(2, 0), (1, 1)], ids=["attempt", "node"])
def test_an_answer_that_names_another_frees_nothing(attempt: int, offset: int) -> None:
    desk, node = leaky()
    assert desk.say(0, AttemptLost(job(1), attempt, node + offset)) == []
    assert desk.in_flight(node) == 1


def test_a_node_without_a_heartbeat_or_a_socket_is_not_asked() -> None:
    desk = Desk()
    silent = desk.node("silent")
    desk.place(1)
    assert silent != NO_NODE
    assert every(AuditNode, look(desk, LOOKS)) == []
    gone = desk.node("gone", 1)
    hold(desk, gone, 1)
    desk.say(1, NodeGone(gone, "closed"))
    assert every(AuditNode, look(desk, LOOKS)) == []


def test_a_storm_of_differences_is_asked_about_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKED_PER_LOOK_MAX", 2)
    desk = Desk()
    for number in range(5):
        hold(desk, desk.node(f"n{number}"), 1)
    assert len(every(AuditNode, look(desk, LOOKS))) == 2


def test_what_a_gateway_holds_unasked_is_not_in_the_question() -> None:
    desk = Desk()
    node = desk.node("n")
    hold(desk, node, 1)
    assert only(AuditNode, look(desk, LOOKS)) == AuditNode(node, [])


@pytest.mark.parametrize("bound", ["RECOUNTED_PER_LOOK", "RECOUNTED_SCORES_PER_LOOK"])
def test_a_wrong_count_and_a_wrong_score_are_righted(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(module, bound, 2)
    desk = Desk()
    nodes = [desk.node(f"n{number}") for number in range(5)]
    desk.place(1)
    desk.finish(1, nodes[0])
    row = slot_of(nodes[3])
    desk.tables.nodes.in_flight[row] = 7
    desk.tables.scores[0, slot_of(nodes[4])] = INFINITE
    look(desk, 3)
    assert desk.tables.nodes.in_flight[row] == 0
    assert desk.tables.scores[0, slot_of(nodes[4])] != INFINITE
    assert desk.counts.audit_rescored_total == 2
    look(desk, 3)
    assert desk.counts.audit_rescored_total == 2


def test_the_owner_hears_of_an_attempt_after_a_lost_one() -> None:
    desk = Desk()
    node = desk.node("n", 1)
    desk.place(1)
    said = desk.say(1, AttemptLost(job(1), 1, node))
    assert only(Dispatched, said) == Dispatched(job(1), 2, node)
