from collections import Counter

import pytest

from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import NodeServices
from scheduler.selection.scores import INFINITE
from tests.dispatch.desk import ASR, CORE, WHOLE, Desk, settings

UTILIZATION = settings(scheduler={"load_balancer": {"strategy": "least_utilization"}})


def test_the_least_loaded_node_wins() -> None:
    desk = Desk()
    busy, idle = desk.node("busy", capacity=4), desk.node("idle", capacity=4)
    desk.usage(busy, external_jobs=1)
    desk.tick(1.0)
    assert [desk.place(number) for number in range(3)] == [idle, busy, idle]


def test_equals_take_turns() -> None:
    desk = Desk()
    nodes = [desk.node(f"n{number}", capacity=9) for number in range(3)]
    chosen = []
    for number in range(9):
        chosen.append(desk.place(number))
        desk.finish(number, chosen[-1])
    assert chosen == nodes * 3


def test_the_default_strategy_counts_jobs() -> None:
    desk = Desk()
    desk.node("small", capacity=1)
    desk.node("large", capacity=10)
    chosen = Counter(desk.place(number) for number in range(2))
    assert set(chosen.values()) == {1}


def test_least_utilization_counts_the_share_of_the_capacity() -> None:
    desk = Desk(UTILIZATION)
    small, large = desk.node("small", capacity=2), desk.node("large", capacity=8)
    chosen = Counter(desk.place(number) for number in range(10))
    assert chosen == {small: 2, large: 8}
    desk = Desk(UTILIZATION)
    small, large = desk.node("small", capacity=2), desk.node("large", capacity=8)
    chosen = Counter(desk.place(number) for number in range(5))
    assert chosen == {small: 1, large: 4}


@pytest.mark.parametrize("config", [settings(), UTILIZATION])
def test_capacity_is_never_exceeded(config: object) -> None:
    desk = Desk(config)  # type: ignore[arg-type]
    nodes = [desk.node(f"n{capacity}", capacity=capacity) for capacity in (1, 2, 5)]
    placed = [desk.place(number) for number in range(20)]
    assert Counter(placed) == {nodes[0]: 1, nodes[1]: 2, nodes[2]: 5, NO_NODE: 12}
    assert [desk.in_flight(node) for node in nodes] == [1, 2, 5]


def test_only_ready_nodes_are_chosen() -> None:
    desk = Desk()
    desk.node("cold", healthy=False)
    assert desk.place(1) == NO_NODE


def test_the_nodes_own_other_work_takes_its_slots() -> None:
    desk = Desk()
    node = desk.node("n", capacity=2)
    desk.usage(node, external_jobs=1)
    desk.tick(1.0)
    assert [desk.place(number) for number in range(2)] == [node, NO_NODE]


def test_all_required_services_must_be_ready() -> None:
    desk = Desk()
    desk.node("deaf", installed=[ASR])
    whole = desk.node("whole")
    assert desk.place(1) == whole
    desk.say(0, NodeServices(whole, CORE, [ASR]))
    assert desk.place(2) == NO_NODE
    assert desk.place(3, requirement=0b001) != NO_NODE


def test_a_class_gets_its_row_with_its_first_job() -> None:
    desk = Desk()
    node = desk.node("n")
    assert not desk.tables.class_active.any()
    desk.place(1)
    assert desk.tables.class_active.tolist().count(1) == 1
    desk.place(2, requirement=0b001)
    assert desk.tables.class_active.tolist().count(1) == 2
    rows = desk.tables.scores[:2, slot_of(node)]
    assert (rows == rows[0]).all()
    assert (rows == INFINITE).all()  # both slots are taken


def test_a_paired_job_goes_to_its_node_even_if_others_are_idle() -> None:
    desk = Desk()
    mine = desk.node("mine", accept_public=False)
    desk.node("idle")
    assert [desk.place(number, paired=mine) for number in range(3)] == [mine, mine, NO_NODE]


def test_private_nodes_are_not_chosen_for_others() -> None:
    desk = Desk()
    desk.node("private", accept_public=False)
    assert desk.place(1) == NO_NODE


def test_an_avoided_node_is_passed_over_while_others_are_free() -> None:
    desk = Desk()
    last, other = desk.node("last"), desk.node("other")
    assert [desk.place(n, avoid=last) for n in range(4)] == [other, other, last, last]


def test_a_node_to_avoid_that_left_is_no_obstacle() -> None:
    desk = Desk()
    node = desk.node("n")
    assert desk.place(1, avoid=node + (1 << 20)) == node


def test_passing_over_leaves_the_scores_as_they_were() -> None:
    desk = Desk()
    nodes = [desk.node(f"n{number}") for number in range(3)]
    desk.place(1)
    before = desk.tables.scores.copy()
    placement = desk.core._flow._placement
    service_class = desk.core._flow._class_of_requirement[WHOLE]
    slots = [slot_of(node) for node in nodes]
    assert placement.choose(service_class, [slots[1], slots[1], slots[2]]) == slots[0]
    assert placement.choose(service_class, slots) == -1
    assert (desk.tables.scores == before).all()
