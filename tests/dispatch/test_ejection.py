"""A node that fails job after job is left alone for a while, and comes back by and by."""

from typing import Any

import pytest

from scheduler.dispatch.ejection import AT_FAULT
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import Failure
from tests.dispatch.desk import Desk, job, settings

FAILURES = 3


def config(**ejection: Any) -> Any:
    return settings(
        scheduler={
            "job_timeout": {"failover_max_attempts": 1},
            "outlier_ejection": {
                "consecutive_failures": FAILURES,
                "base_ejection_seconds": 10,
                "max_ejection_seconds": 40,
                "max_ejected_percent": 50,
                "slow_start_seconds": 0,
                **ejection,
            },
        }
    )


class Fleet:
    """Nodes of which only the first may be chosen, by the load that the others report."""

    def __init__(self, others: int = 3, **ejection: Any) -> None:
        self.desk = Desk(config(**ejection))
        self.node = self.desk.node("first", capacity=8)
        self.others = [self.desk.node(f"other-{n}", capacity=8) for n in range(others)]
        self._jobs = 0
        for other in self.others:
            self.desk.usage(other, external_jobs=7)
        self.desk.tick(0.2)

    def give(self) -> int:
        """Submit a job; return the node it went to."""
        self._jobs += 1
        return self.desk.place(self._jobs)

    def fail(self, times: int = 1, code: str = "INTERNAL_ERROR", **fields: Any) -> None:
        for _ in range(times):
            node = self.give()
            record = Failure(job(self._jobs), 1, node, code, "", b"{}", **fields)
            self.desk.say(0, record)

    def succeed(self) -> None:
        node = self.give_to_first()
        self.desk.finish(self._jobs, node)

    def wait(self, seconds: float) -> None:
        """Let time pass, with heartbeats all the while."""
        while seconds > 0:
            self.desk.usage(self.node)
            for other in self.others:
                self.desk.usage(other, external_jobs=7)
            self.desk.tick(min(seconds, 0.5))
            seconds -= 0.5

    def give_to_first(self) -> int:
        node = self.give()
        assert node == self.node
        return node

    @property
    def withheld(self) -> int:
        return int(self.desk.tables.nodes.withheld[slot_of(self.node)])

    @property
    def is_ejected(self) -> bool:
        return self.withheld == 8


def test_failures_in_a_row_eject() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES - 1)
    assert fleet.withheld == 0
    fleet.fail()
    assert fleet.is_ejected
    assert fleet.give() in fleet.others
    fleet.desk.tick(0.2)
    assert (fleet.desk.counts.ejections_total, fleet.desk.counts.ejected_nodes) == (1, 1)
    assert fleet.desk.tables.nodes.ejections_total[slot_of(fleet.node)] == 1
    assert ("ejection", "first failed 3 in a row: none for 10 s") in fleet.desk.notes


def test_leaving_with_jobs_is_a_failure() -> None:
    fleet = Fleet()
    for _ in range(FAILURES):
        assert not fleet.is_ejected
        fleet.give_to_first()
        fleet.give_to_first()
        fleet.desk.lose(fleet.node)
        assert fleet.desk.node("first", capacity=8) == fleet.node
    assert fleet.is_ejected


def test_leaving_without_jobs_or_with_the_gateway_is_none() -> None:
    fleet = Fleet()
    for _ in range(2 * FAILURES):
        fleet.desk.lose(fleet.node)
        fleet.desk.node("first", gateway=1, capacity=8)
        fleet.give_to_first()
        fleet.desk.lose_gateway(1)
        fleet.desk.node("first", capacity=8)
    assert fleet.desk.counts.ejections_total == 0


def test_a_success_begins_the_row_anew() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES - 1)
    fleet.succeed()
    fleet.fail(FAILURES - 1)
    assert not fleet.is_ejected


@pytest.mark.parametrize("code", [*sorted(set(ErrorCode) - AT_FAULT), "UNSUPPORTED_LANGUAGE"])
def test_what_is_not_the_nodes_fault_never_counts_against_it(code: str) -> None:
    fleet = Fleet()
    for _ in range(2 * FAILURES):
        fleet.fail(1, code)
        fleet.wait(61.0)  # so long may a mark keep jobs away
    assert fleet.desk.counts.ejections_total == 0


@pytest.mark.parametrize("code", sorted(AT_FAULT))
def test_what_is_its_fault_counts(code: str) -> None:
    fleet = Fleet()
    fleet.fail(FAILURES, code)
    assert fleet.is_ejected


def test_what_the_server_itself_did_is_not_the_nodes_fault() -> None:
    fleet = Fleet()
    fleet.fail(2 * FAILURES, by_node=False)
    assert not fleet.is_ejected


def test_attempts_that_run_out_of_time_count() -> None:
    fleet = Fleet()
    for _ in range(FAILURES):
        fleet.give_to_first()
    fleet.desk.tick(30.5)
    assert fleet.is_ejected


def test_an_ejected_node_comes_back_when_its_time_is_over() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES)
    fleet.desk.tick(9.5)
    assert fleet.is_ejected
    fleet.desk.tick(1.0)
    assert fleet.withheld == 0
    fleet.give_to_first()
    assert fleet.desk.counts.ejected_nodes == 0


def ejected_for(fleet: Fleet) -> float:
    seconds = 0.0
    while fleet.is_ejected:
        fleet.wait(0.5)
        seconds += 0.5
    return seconds


def test_the_time_doubles_with_each_ejection_that_follows_soon() -> None:
    fleet = Fleet()
    times = []
    for _ in range(4):
        fleet.fail(FAILURES)
        times.append(ejected_for(fleet))
    assert times == [pytest.approx(seconds, abs=0.6) for seconds in (10, 20, 40, 40)]


def test_a_calm_time_lets_it_begin_anew() -> None:
    fleet = Fleet()
    for _ in range(2):
        fleet.fail(FAILURES)
        ejected_for(fleet)
    fleet.wait(3 * 40)
    fleet.fail(FAILURES)
    assert ejected_for(fleet) == pytest.approx(10, abs=0.6)


def test_slow_start_gives_out_the_slots_by_and_by() -> None:
    fleet = Fleet(slow_start_seconds=20)
    fleet.fail(FAILURES)
    fleet.desk.tick(10.5)
    given = [8 - fleet.withheld]
    for _ in range(4):
        fleet.desk.tick(5.0)
        given.append(8 - fleet.withheld)
    assert given == [1, 2, 4, 6, 8]


def test_a_node_that_fails_in_slow_start_is_ejected_again() -> None:
    fleet = Fleet(slow_start_seconds=20)
    fleet.fail(FAILURES)
    fleet.desk.tick(15.0)
    fleet.fail(FAILURES)
    assert fleet.is_ejected
    assert fleet.desk.counts.ejections_total == 2


def test_only_a_share_of_the_nodes_is_ejected_at_once() -> None:
    fleet = Fleet(others=3, max_ejected_percent=50)
    for other in fleet.others:
        fleet.desk.usage(other)
    fleet.desk.tick(0.2)
    fleet.fail(40)
    withheld = fleet.desk.tables.nodes.withheld
    assert int((withheld > 0).sum()) == 2


@pytest.mark.parametrize(("others", "ejections"), [(0, 0), (1, 1)], ids=["alone", "one of two"])
def test_one_may_always_be_ejected_but_never_the_only_one(others: int, ejections: int) -> None:
    fleet = Fleet(others, max_ejected_percent=0)
    fleet.fail(FAILURES)
    assert fleet.desk.counts.ejections_total == ejections


def test_zero_failures_turn_it_off() -> None:
    fleet = Fleet(consecutive_failures=0)
    fleet.fail(30)
    assert not fleet.is_ejected


def test_a_session_paired_with_an_ejected_node_still_gets_it() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES)
    assert fleet.desk.place(900, paired=fleet.node) == fleet.node


def test_a_paired_job_that_waits_for_an_ejected_node_is_served() -> None:
    fleet = Fleet()
    fleet.desk.usage(fleet.node, external_jobs=5)
    fleet.desk.tick(0.2)
    for number in (901, 902, 903):
        fleet.desk.place(number, paired=fleet.node)
    fleet.fail(0)
    assert fleet.desk.place(904, paired=fleet.node) == NO_NODE
    for number in (901, 902, 903):
        record = Failure(job(number), 1, fleet.node, "INTERNAL_ERROR", "", b"{}")
        fleet.desk.say(0, record)
    assert fleet.is_ejected
    assert fleet.desk.in_flight(fleet.node) == 1


def test_a_node_that_reconnects_stays_ejected() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES)
    fleet.desk.lose(fleet.node)
    assert fleet.desk.node("first", capacity=12) == fleet.node
    assert fleet.withheld == 12
    assert fleet.give() in fleet.others


def test_another_node_in_the_same_row_begins_without_blame() -> None:
    fleet = Fleet()
    fleet.fail(FAILURES)
    fleet.desk.lose(fleet.node)
    fleet.desk.tick(301.0)
    other = fleet.desk.node("another", capacity=8)
    assert slot_of(other) == slot_of(fleet.node)
    assert fleet.withheld == 0
    assert fleet.desk.tables.nodes.ejections_total[slot_of(other)] == 0
