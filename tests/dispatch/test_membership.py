"""Each of protocol.md's node rules that the dispatcher decides has its test here."""

import pytest

from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, generation_of, slot_of
from scheduler.protocol.records import (
    Assign,
    Deliver,
    DrainNode,
    DrainRequested,
    Failed,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    NodeServices,
    NodeStatusChanged,
)
from scheduler.protocol.status import Status
from tests.dispatch.desk import ASR, CORE, Desk, every, job, only, registration, settings


def test_a_node_is_registering_until_its_heartbeats_were_healthy() -> None:
    desk = Desk()
    node = only(NodeAccepted, desk.say(0, registration("n", conn=5)))
    assert node.conn == 5
    assert desk.status(node.node) == Status.REGISTERING
    said = desk.say(0, NodeHealth(node.node, True, ""))
    assert said == [(0, NodeStatusChanged(node.node, Status.READY, ""))]
    assert desk.status(node.node) == Status.READY


def test_only_ready_nodes_get_jobs() -> None:
    desk = Desk()
    node = desk.node("n", healthy=False)
    assert desk.place(1) == NO_NODE
    said = desk.say(0, NodeHealth(node, True, ""))
    assert only(Assign, said).node == node


def test_ready_to_degraded_on_unhealthy_heartbeats_and_back_on_healthy() -> None:
    desk = Desk()
    node = desk.node("n")
    said = desk.say(0, NodeHealth(node, False, "cpu_percent is 200"))
    assert said == [(0, NodeStatusChanged(node, Status.DEGRADED, "cpu_percent is 200"))]
    assert desk.place(1) == NO_NODE
    said = desk.say(0, NodeHealth(node, True, ""))
    assert only(NodeStatusChanged, said).status == Status.READY
    assert only(Assign, said).node == node


def test_signals_that_the_status_follows_already_change_nothing() -> None:
    desk = Desk()
    node = desk.node("n")
    assert desk.say(0, NodeHealth(node, True, "")) == []
    desk.say(0, NodeHealth(node, False, "ill"))
    assert desk.say(0, NodeHealth(node, False, "ill")) == []


def test_registering_to_degraded_after_the_warmup_timeout() -> None:
    desk = Desk()
    node = desk.node("n", healthy=False)
    for _ in range(2):
        desk.usage(node)
        assert every(NodeStatusChanged, desk.tick(30.0)) == []
    desk.usage(node)
    changed = only(NodeStatusChanged, desk.tick(0.2))
    assert (changed.node, changed.status) == (node, Status.DEGRADED)
    assert changed.reason == "not healthy within 60 s"
    assert only(NodeStatusChanged, desk.say(0, NodeHealth(node, True, ""))).status == Status.READY


def test_a_closed_socket_takes_the_node_offline_and_its_jobs_elsewhere() -> None:
    desk = Desk()
    first, second = desk.node("first"), desk.node("second", gateway=1)
    assert desk.place(1) == first
    said = desk.lose(first)
    assert desk.status(first) == Status.OFFLINE
    assert only(Assign, said).node == second
    assert every(NodeStatusChanged, said) == []  # its gateway knows
    assert (desk.in_flight(first), desk.in_flight(second)) == (0, 1)


def test_a_silent_node_goes_offline_after_the_heartbeat_timeout() -> None:
    desk = Desk(settings(scheduler={"job_timeout_seconds": 3600}))
    silent, beating = desk.node("silent"), desk.node("beating", gateway=1)
    assert desk.place(1) == silent
    desk.usage(silent)
    desk.tick(44.9)
    desk.usage(beating)
    assert desk.status(silent) == Status.READY
    said = desk.tick(0.3)
    changed = only(NodeStatusChanged, said)
    assert (changed.node, changed.status) == (silent, Status.OFFLINE)
    assert changed.reason == "no heartbeat for 45 s"
    assert only(Assign, said).node == beating


def test_jobs_of_silent_nodes_never_go_to_another_silent_one() -> None:
    desk = Desk(settings(scheduler={"job_timeout_seconds": 3600}))
    desk.node("first")
    desk.node("second")
    desk.place(1)
    said = desk.tick(46.0)
    assert {change.status for change in every(NodeStatusChanged, said)} == {Status.OFFLINE}
    assert every(Assign, said) == []


def test_a_heartbeat_of_a_rows_last_occupant_keeps_nobody_alive() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.tick(40.0)
    desk.usage(node)
    desk.tables.nodes.usage_ref[slot_of(node)] = node - (1 << 20)
    desk.tick(5.5)
    assert desk.status(node) == Status.OFFLINE


def test_a_node_that_comes_back_takes_its_place_again() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.lose(node)
    again = only(NodeAccepted, desk.say(1, registration("n", conn=9)))
    assert (again.node, again.conn) == (node, 9)
    assert desk.status(node) == Status.REGISTERING
    assert desk.tables.nodes.gateway[slot_of(node)] == 1


def test_the_same_id_from_a_second_live_connection_is_a_conflict() -> None:
    desk = Desk()
    node = desk.node("n")
    for gateway in (0, 1):
        refused = only(NodeRefused, desk.say(gateway, registration("n", conn=2)))
        assert (refused.conn, refused.code) == (2, ErrorCode.NODE_ID_CONFLICT)
    assert desk.place(1) == node
    assert desk.counts.nodes_refused_total == 2


def test_an_offline_nodes_row_is_freed_after_a_while() -> None:
    desk = Desk(nodes=1)
    node = desk.node("n")
    desk.lose(node)
    desk.tick(299.9)
    assert desk.status(node) == Status.OFFLINE
    desk.tick(0.3)
    assert desk.status(node) == Status.FREE
    other = desk.node("other")
    assert slot_of(other) == slot_of(node)
    assert generation_of(other) == generation_of(node) + 1


def test_what_was_meant_for_a_rows_last_occupant_misses_the_next() -> None:
    desk = Desk(nodes=1)
    old = desk.node("old")
    desk.lose(old)
    desk.tick(301.0)
    new = desk.node("new")
    assert desk.say(0, NodeGone(old, "late")) == []
    assert desk.say(0, NodeHealth(old, False, "late")) == []
    assert desk.say(0, NodeServices(old, [], [])) == []
    assert desk.say(0, DrainNode(old, True, "late")) == []
    assert desk.place(1) == new


def test_a_full_table_refuses_with_server_busy() -> None:
    desk = Desk(nodes=2)
    desk.node("a")
    desk.lose(desk.node("b"))
    refused = only(NodeRefused, desk.say(0, registration("c", conn=3)))
    assert (refused.conn, refused.code) == (3, ErrorCode.SERVER_BUSY)
    assert "nodes_max" in refused.message
    assert desk.node("b") != NO_NODE  # an offline node's row is still its own


def test_a_full_table_forgets_the_node_that_is_offline_for_longest() -> None:
    desk = Desk(nodes=3)
    desk.node("stays")
    first, second = desk.node("first"), desk.node("second")
    desk.lose(first)
    desk.tick(1.0)
    desk.lose(second)
    desk.tick(9.0)
    desk.submit(1, paired=first)
    said = desk.say(0, registration("new"))
    assert only(Failed, said).job == job(1)
    assert slot_of(only(NodeAccepted, said).node) == slot_of(first)
    assert desk.node("second") == second


def test_a_node_that_does_not_accept_public_jobs_serves_paired_sessions_alone() -> None:
    desk = Desk()
    private = desk.node("private", accept_public=False)
    assert desk.place(1) == NO_NODE
    assert desk.place(2, paired=private) == private


def test_all_required_services_must_be_installed_and_ready() -> None:
    desk = Desk()
    node = desk.node("n", installed=CORE, ready=[ASR])
    assert desk.place(1) == NO_NODE
    said = desk.say(0, NodeServices(node, CORE, CORE))
    assert only(Assign, said).node == node


def test_a_result_counts_only_from_the_node_and_attempt_that_hold_the_job() -> None:
    desk = Desk()
    node, other = desk.node("n"), desk.node("other")
    assert desk.place(1) == node
    assert every(Deliver, desk.finish(1, other)) == []
    assert every(Deliver, desk.finish(1, node, attempt=2)) == []
    assert desk.counts.stale_results_total == 2
    assert len(every(Deliver, desk.finish(1, node))) == 1


def test_records_of_a_gateway_that_does_not_hold_the_node_change_nothing() -> None:
    desk = Desk()
    node = desk.node("n", gateway=0)
    for record in (
        NodeGone(node, "not mine"),
        NodeHealth(node, False, "not mine"),
        NodeServices(node, [], []),
    ):
        assert desk.say(1, record) == []
    assert desk.place(1) == node


# --- drain -----------------------------------------------------------------------------------


def test_any_status_can_go_to_draining_and_gets_no_more_jobs() -> None:
    desk = Desk()
    registering, ready, degraded = (
        desk.node("registering", healthy=False),
        desk.node("ready"),
        desk.node("degraded"),
    )
    desk.say(0, NodeHealth(degraded, False, "ill"))
    assert desk.place(1) == ready
    for node in (registering, ready, degraded):
        said = desk.say(1, DrainNode(node, True, "update"))
        assert said == [
            (0, NodeStatusChanged(node, Status.DRAINING, "update")),
            (0, DrainRequested(node, "drain", "update")),
        ]
        assert desk.say(0, NodeHealth(node, True, "")) == []
    assert desk.place(2) == NO_NODE
    assert len(every(Deliver, desk.finish(1, ready))) == 1  # what runs may finish


def test_a_resumed_node_proves_its_health_anew() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.say(0, DrainNode(node, True, "update"))
    said = desk.say(0, DrainNode(node, False, "done"))
    assert [r for _, r in said] == [
        NodeStatusChanged(node, Status.REGISTERING, "done"),
        DrainRequested(node, "resume", "done"),
    ]
    assert desk.place(1) == NO_NODE
    assert only(Assign, desk.say(0, NodeHealth(node, True, ""))).node == node


def test_a_drained_node_that_comes_back_is_drained_still() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.say(1, DrainNode(node, True, "update"))
    desk.lose(node)
    said = desk.say(1, registration("n"))
    assert said == [
        (1, NodeAccepted(1, node)),
        (1, NodeStatusChanged(node, Status.DRAINING, "it was drained before")),
        (1, DrainRequested(node, "drain", "it was drained before")),
    ]
    assert desk.say(1, NodeHealth(node, True, "")) == []
    assert desk.place(1) == NO_NODE


def test_a_resumed_node_that_comes_back_is_not_drained() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.say(0, DrainNode(node, True, "update"))
    desk.say(0, DrainNode(node, False, "done"))
    desk.lose(node)
    assert desk.place(1) == NO_NODE
    assert desk.status(desk.node("n")) == Status.READY


def test_the_next_dispatcher_knows_who_is_drained() -> None:
    desk = Desk()
    node, other = desk.node("n"), desk.node("other")
    desk.say(0, DrainNode(node, True, "update"))
    desk.lose(node)
    desk.lose(other)
    successor = Desk(tables=desk.tables)
    successor.tick(2.0)
    for name in ("n", "other"):
        successor.node(name)
    statuses = [successor.status(ref) for ref in (node, other)]
    assert statuses == [Status.DRAINING, Status.READY]


def test_a_row_given_to_another_node_is_not_drained() -> None:
    forgetful = {"node_health": {"forget_after_seconds": 0.5}}
    desk = Desk(settings(scheduler=forgetful), nodes=1)
    node = desk.node("n")
    desk.say(0, DrainNode(node, True, "update"))
    desk.lose(node)
    desk.tick(1.0)
    assert desk.status(desk.node("other")) == Status.READY


@pytest.mark.parametrize("on", [True, False])
def test_draining_twice_or_resuming_a_working_node_changes_nothing(on: bool) -> None:
    desk = Desk()
    node = desk.node("n")
    if on:
        desk.say(0, DrainNode(node, True, "update"))
    assert desk.say(0, DrainNode(node, on, "again")) == []


def test_an_offline_node_is_not_drained() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.lose(node)
    assert desk.say(0, DrainNode(node, True, "update")) == []


# --- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", ["cpu", "gpu", "memory"])
def test_a_node_above_a_limit_is_skipped_until_it_is_below_again(figure: str) -> None:
    desk = Desk()
    node = desk.node("n")
    column = getattr(desk.tables.nodes, f"{figure}_percent")
    desk.usage(node)
    column[slot_of(node)] = 90.5
    desk.tick(0.2)
    assert desk.place(1) == NO_NODE
    column[slot_of(node)] = 90.0
    assert only(Assign, desk.tick(0.2)).node == node


def test_external_jobs_block_slots_and_give_them_back() -> None:
    desk = Desk()
    node = desk.node("n", capacity=2)
    desk.usage(node, external_jobs=2)
    desk.tick(0.2)
    assert desk.place(1) == NO_NODE
    desk.usage(node, external_jobs=1)
    assert only(Assign, desk.tick(0.2)).node == node
    assert desk.place(2) == NO_NODE


def test_figures_count_for_a_rows_next_occupant_from_its_first_heartbeat() -> None:
    desk = Desk(nodes=1)
    old = desk.node("old")
    desk.usage(old, cpu=99, external_jobs=2)
    desk.tick(0.2)
    desk.lose(old)
    desk.tick(301.0)
    new = desk.node("new", healthy=False)
    desk.usage(new, cpu=99, external_jobs=2)  # before any look at its empty figures
    desk.tick(0.2)
    desk.say(0, NodeHealth(new, True, ""))
    assert desk.place(1) == NO_NODE


# --- gateways --------------------------------------------------------------------------------


def test_a_lost_gateway_takes_its_nodes_offline_and_its_jobs_with_it() -> None:
    desk = Desk()
    lost, kept = desk.node("lost", gateway=0), desk.node("kept", gateway=1)
    placed = [desk.place(number, gateway=number % 2) for number in range(4)]
    assert sorted(placed) == sorted([lost, kept] * 2)
    said = desk.lose_gateway(0)
    assert desk.status(lost) == Status.OFFLINE
    assert desk.in_flight(lost) == 0
    assert all(gateway == 1 for gateway, _ in said)
    assert desk.counts.cancelled_total == 2
    assert every(Failed, said) == []
    # Both jobs of the gateway that is left run on the node that is left.
    assert desk.in_flight(kept) == 2
    assert desk.counts.in_flight == 2


def test_no_job_of_a_lost_gateway_is_started_by_its_loss() -> None:
    desk = Desk()
    node = desk.node("n", gateway=1, capacity=1)
    for number in range(3):
        desk.submit(number, gateway=0)
    desk.submit(9, gateway=1)
    said = desk.lose_gateway(0)
    assert len(every(Assign, said)) == 1
    assert desk.in_flight(node) == 1
    assert desk.counts.queued == 0
