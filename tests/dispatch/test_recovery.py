import pytest

from scheduler.dispatch.recovery import Recovery
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import (
    Announce,
    AnnounceDone,
    Assign,
    CancelAttempt,
    CancelJob,
    Deliver,
    Discard,
    Dispatched,
    Failed,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    RegisterNode,
    Result,
    Submit,
)
from scheduler.protocol.status import Status
from tests.dispatch.desk import (
    WHOLE,
    Desk,
    Said,
    every,
    job,
    only,
    registration,
    running,
    settings,
)


def announce(
    number: int,
    gateway: int = 0,
    *,
    attempt: int = 1,
    node: int = NO_NODE,
    paired: int = NO_NODE,
) -> Announce:
    return Announce(job(number, gateway), WHOLE, paired, NO_NODE, None, attempt, node)


def again(
    node_id: str, *held: tuple[int, int], status: Status = Status.READY, conn: int = 1
) -> RegisterNode:
    return registration(node_id, conn=conn, announced=True, status=status, running=running(*held))


def finish(desk: Desk) -> Said:
    """Let both gateways say that this was all."""
    return desk.say(0, AnnounceDone()) + desk.say(1, AnnounceDone())


def test_an_attempt_that_a_node_holds_goes_on() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    accepted = only(NodeAccepted, desk.say(0, again("n", (job(1), 1), conn=7)))
    assert (accepted.node, accepted.conn) == (node, 7)
    assert desk.status(node) == Status.READY
    desk.say(0, announce(1, node=node))
    assert finish(desk) == []
    assert desk.in_flight(node) == 1
    assert only(Deliver, desk.finish(1, node)).job == job(1)


def test_an_owner_that_was_not_told_of_the_attempt_is_told_now() -> None:
    before = Desk()
    node = before.node("n", gateway=1)
    desk = before.successor()
    desk.say(1, again("n", (job(1), 1)))
    desk.say(0, announce(1, attempt=0))
    assert finish(desk) == [(0, Dispatched(job(1), 1, node))]


def test_a_job_that_no_node_holds_is_placed_anew() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n"))
    desk.say(0, announce(1, attempt=2, node=node))
    desk.say(0, announce(2, attempt=0))
    assigned = every(Assign, finish(desk))
    assert [(a.job, a.attempt) for a in assigned] == [(job(1), 3), (job(2), 1)]


def test_of_several_attempts_the_last_goes_on_and_the_others_end() -> None:
    before = Desk()
    first, second = before.node("first", gateway=0), before.node("second", gateway=1)
    desk = before.successor()
    desk.say(0, again("first", (job(1), 1)))
    desk.say(1, again("second", (job(1), 2)))
    desk.say(0, announce(1))
    assert finish(desk) == [
        (0, Dispatched(job(1), 2, second)),
        (0, CancelAttempt(job(1), 1, first, "superseded")),
    ]
    assert (desk.in_flight(first), desk.in_flight(second)) == (0, 1)


def test_an_attempt_older_than_what_the_owner_knows_is_superseded() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1)))
    desk.say(0, announce(1, attempt=2))
    said = finish(desk)
    assert only(CancelAttempt, said) == CancelAttempt(job(1), 1, node, "superseded")
    assert only(Assign, said).attempt == 3


def test_an_attempt_at_a_job_that_nobody_waits_for_ends() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1)))
    assert finish(desk) == [(0, CancelAttempt(job(1), 1, node, "superseded"))]


def test_what_comes_meanwhile_waits_and_keeps_its_order() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1), (job(2), 1)))
    for number in (1, 2):
        desk.say(0, announce(number, node=node))
    for event in (
        Result(job(1), 1, node),
        CancelJob(job(2), "closed"),
        Submit(job(3), WHOLE),
        CancelJob(job(3), "closed"),
    ):
        assert desk.say(0, event) == []
    said = finish(desk)
    assert only(Deliver, said).job == job(1)
    assert [c.job for c in every(CancelAttempt, said)] == [job(2), job(3)]
    assert desk.counts.in_flight == 0


def test_results_are_told_again_and_count_once() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1), (job(2), 1)))
    desk.say(0, announce(1, node=node))
    finish(desk)
    assert only(Deliver, desk.finish(1, node)).job == job(1)
    # The owner of the other had its result before the first dispatcher died.
    assert desk.finish(2, node) == [(0, Discard(job(2), 1, node))]


def test_a_gateway_that_says_nothing_is_waited_for_a_second() -> None:
    before = Desk()
    before.node("n")
    desk = before.successor()
    desk.say(0, again("n"))
    desk.say(0, announce(1, attempt=0))
    desk.say(0, AnnounceDone())
    assert desk.tick(0.99) == []
    assert only(Assign, desk.tick(0.01)).job == job(1)


def test_a_gateway_that_comes_later_is_taken_over_too() -> None:
    before = Desk()
    node = before.node("n", gateway=1)
    desk = before.successor()
    desk.say(0, announce(1, node=node))
    desk.say(0, AnnounceDone())
    desk.tick(1.0)
    said = desk.say(1, again("n", (job(9), 1)))
    assert only(NodeAccepted, said).node == node
    assert only(Assign, said).job == job(1)
    assert only(CancelAttempt, said) == CancelAttempt(job(9), 1, node, "superseded")
    assert only(Assign, desk.say(1, announce(2, gateway=1))).attempt == 2
    assert desk.say(1, announce(2, gateway=1)) == []


def test_the_attempt_that_was_just_given_to_a_late_node_is_not_superseded() -> None:
    before = Desk()
    node = before.node("n", gateway=1)
    desk = before.successor()
    desk.say(0, announce(1, attempt=1))
    desk.say(0, AnnounceDone())
    desk.tick(1.0)
    said = desk.say(1, again("n", (job(1), 2)))
    assert only(Assign, said).attempt == 2
    assert every(CancelAttempt, said) == []
    assert desk.in_flight(node) == 1


def test_a_gateway_lost_meanwhile_takes_its_jobs_and_what_its_nodes_held() -> None:
    before = Desk()
    lost, kept = before.node("lost", gateway=0), before.node("kept", gateway=1)
    desk = before.successor()
    desk.say(0, again("lost", (job(1, 1), 1)))
    desk.say(1, again("kept", (job(2, 0), 1)))
    desk.say(0, announce(2, gateway=0, node=kept))
    desk.say(1, announce(1, gateway=1, node=lost))
    desk.say(0, Submit(job(3, 0), WHOLE))
    desk.lose_gateway(0)
    said = desk.say(1, AnnounceDone()) + desk.tick()
    assert (1, CancelAttempt(job(2, 0), 1, kept, "superseded")) in said
    assert only(Assign, said) == Assign(job(1, 1), 2, kept, None)
    assert (desk.in_flight(lost), desk.in_flight(kept)) == (0, 1)
    assert desk.counts.submitted_total == 1


def test_a_node_that_reconnects_meanwhile_gets_its_place_after_its_loss_is_known() -> None:
    before = Desk()
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1), conn=1))
    desk.say(0, announce(1, node=node))
    desk.say(0, NodeGone(node, "closed"))
    assert desk.say(0, registration("n", conn=2)) == []
    accepted = only(NodeAccepted, finish(desk))
    assert (accepted.node, accepted.conn) == (node, 2)
    assert only(Assign, desk.say(0, NodeHealth(node, True, ""))).attempt == 2


def test_a_second_live_connection_is_still_a_conflict() -> None:
    before = Desk()
    before.node("n")
    desk = before.successor()
    desk.say(0, again("n", conn=1))
    desk.say(1, registration("n", conn=2))
    assert only(NodeRefused, finish(desk)).code == ErrorCode.NODE_ID_CONFLICT


def test_a_new_node_cannot_claim_what_a_member_holds() -> None:
    before = Desk()
    node = before.node("n")
    liar = before.node("liar")
    before.lose(liar)
    desk = before.successor()
    assert desk.say(1, registration("liar", running=running((job(1), 1 << 53), (job(2), 1)))) == []
    desk.say(0, again("n", (job(1), 1)))
    desk.say(0, announce(1, node=node))
    assert finish(desk) == [(1, NodeAccepted(1, liar))]
    assert (desk.in_flight(node), desk.in_flight(liar)) == (1, 0)
    assert desk.say(1, Result(job(1), 1 << 53, liar)) == [(1, Discard(job(1), 1 << 53, liar))]
    assert only(Deliver, desk.finish(1, node)).attempt == 1


def test_a_node_that_is_back_meanwhile_goes_on_with_what_was_lost_on_it() -> None:
    before = Desk()
    node = before.node("n")
    other = before.node("other")
    desk = before.successor()
    desk.say(0, again("other"))
    desk.say(1, registration("n", running=running((job(1), 1))))
    desk.say(0, announce(1, node=node))
    said = finish(desk)
    assert said == [(1, NodeAccepted(1, node, running((job(1), 1))))]
    assert (desk.in_flight(node), desk.in_flight(other)) == (1, 0)
    assert desk.counts.reclaimed_total == 1
    assert only(Deliver, desk.say(1, Result(job(1), 1, node))).job == job(1)


@pytest.mark.parametrize(
    ("attempt", "lost_on_it"),
    [(2, True), (0, True), (1, False)],
    ids=["later", "none", "another's"],
)
def test_a_node_that_is_back_meanwhile_goes_on_with_nothing_else(
    attempt: int, lost_on_it: bool
) -> None:
    before = Desk()
    node = before.node("n")
    other = before.node("other")
    desk = before.successor()
    desk.say(0, again("other"))
    desk.say(1, registration("n", running=running((job(1), attempt))))
    desk.say(0, announce(1, node=node if lost_on_it else other))
    said = finish(desk)
    assert said == [(0, Assign(job(1), 2, other, None)), (1, NodeAccepted(1, node))]


def test_a_new_node_cannot_take_the_id_of_a_member_that_is_announced_later() -> None:
    before = Desk()
    node = before.node("n", gateway=1)
    desk = before.successor()
    assert desk.say(0, registration("n", conn=8)) == []
    assert only(NodeAccepted, desk.say(1, again("n", conn=9))) == NodeAccepted(9, node)
    refused = only(NodeRefused, finish(desk))
    assert (refused.conn, refused.code) == (8, ErrorCode.NODE_ID_CONFLICT)


def test_nodes_keep_the_status_they_had() -> None:
    before = Desk()
    statuses = (Status.REGISTERING, Status.READY, Status.DEGRADED, Status.DRAINING)
    nodes = [before.node(status.wire) for status in statuses]
    desk = before.successor()
    for status in statuses:
        desk.say(0, again(status.wire, status=status))
    finish(desk)
    assert [desk.status(node) for node in nodes] == list(statuses)


def test_a_node_that_is_not_announced_is_offline_and_keeps_its_row_for_a_while() -> None:
    before = Desk()
    node = before.node("n")
    before.now_ns += 3600 * 10**9
    desk = before.successor()
    finish(desk)
    assert desk.status(node) == Status.OFFLINE
    desk.tick(299.0)
    assert desk.status(node) == Status.OFFLINE
    assert only(NodeAccepted, desk.say(0, registration("n"))).node == node


def test_a_torn_row_is_given_up_and_its_node_gets_another_reference() -> None:
    before = Desk()
    node = before.node("n")
    before.tables.nodes.row_sequence[slot_of(node)] += 1
    desk = before.successor()
    accepted = only(NodeAccepted, desk.say(0, again("n", (job(1), 1))))
    assert accepted.node != node
    desk.say(0, announce(1, node=node))
    finish(desk)
    assert desk.in_flight(accepted.node) == 1


def test_paired_jobs_find_their_node_again() -> None:
    before = Desk()
    mine = before.node("mine", accept_public=False)
    desk = before.successor()
    desk.say(0, announce(1, attempt=0, paired=mine))
    assert every(Failed, finish(desk)) == []
    desk.say(0, registration("mine", accept_public=False))
    assert only(Assign, desk.say(0, NodeHealth(mine, True, ""))).node == mine


def test_adopted_attempts_get_their_whole_time_again() -> None:
    before = Desk(settings(scheduler={"job_timeout_seconds": 5}))
    node = before.node("n")
    desk = before.successor()
    desk.say(0, again("n", (job(1), 1)))
    desk.say(0, announce(1, node=node))
    finish(desk)
    assert every(Failed, desk.tick(4.9)) == []
    assert only(Failed, desk.tick(0.1)).code == ErrorCode.JOB_TIMEOUT


def test_announcements_are_over_when_all_are_done_or_the_time_is() -> None:
    recovery = Recovery([0, 1], now_ns=0)
    recovery.finish_gateway(0)
    assert not recovery.is_over(999_999_999)
    assert recovery.is_over(1_000_000_000)
    recovery.finish_gateway(1)
    assert recovery.is_over(1)
