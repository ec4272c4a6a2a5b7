import pytest

from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import (
    Assign,
    CancelJob,
    ClaimPairing,
    Deliver,
    Failed,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    PairingAnswer,
    Result,
    Submit,
    ToDispatcher,
    ToGateway,
)
from scheduler.simulation.checks import InvariantViolation
from scheduler.simulation.ledger import Ledger
from tests.dispatch.desk import WHOLE, Desk, job, registration


class Bench:
    """A ledger beside a real core that only does what is expected."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.ledger = Ledger(self.desk.config, self.desk.tables, {})
        self.say(0, registration("n", capacity=2))
        self.node = 1 << 20
        self.say(0, NodeHealth(self.node, True, ""))

    def say(self, gateway: int, record: ToDispatcher) -> None:
        self.ledger.told(gateway, record)
        self.ledger.said(record, self.desk.say(gateway, record))

    def lie(self, gateway: int, record: ToDispatcher | None, *effects: ToGateway) -> None:
        if record is not None:
            self.ledger.told(gateway, record)
        self.ledger.said(record, [(gateway, effect) for effect in effects])


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for number in range(3):
        bench.say(0, Submit(job(number), WHOLE))
    return bench


def test_accounts_follow_the_records(bench: Bench) -> None:
    assert bench.ledger.jobs_on[bench.node] == {job(0), job(1)}
    assert bench.ledger.jobs[job(2)].node == NO_NODE
    bench.say(0, Result(job(0), 1, bench.node))
    assert bench.ledger.jobs_on[bench.node] == {job(1), job(2)}
    bench.say(0, CancelJob(job(1), "closed"))
    bench.say(0, NodeGone(bench.node, "closed"))
    assert not bench.ledger.jobs_on[bench.node]
    assert set(bench.ledger.jobs) == {job(2)}


def test_a_lost_gateways_jobs_and_nodes_are_written_off(bench: Bench) -> None:
    bench.say(1, Submit(job(5, 1), WHOLE))
    bench.ledger.told_of_lost_gateway(0)
    assert set(bench.ledger.jobs) == {job(5, 1)}
    assert not bench.ledger.jobs_on[bench.node]


def test_what_a_new_dispatcher_found_out_is_taken_over(bench: Bench) -> None:
    entries = dict(bench.ledger.jobs)
    bench.ledger.take_over(entries, {bench.node: 0}, {bench.node: "n"}, {})
    assert bench.ledger.jobs_on[bench.node] == {job(0), job(1)}
    with pytest.raises(InvariantViolation, match="one node for ever"):
        bench.ledger.take_over(entries, {}, {bench.node: "another"}, {})


def lies(node: int) -> list[tuple[str, ToDispatcher | None, list[ToGateway]]]:
    return [
        ("only a live job is assigned", None, [Assign(job(9), 1, node, None)]),
        ("one slot or none", None, [Assign(job(0), 2, node, None)]),
        ("attempts count up", None, [Assign(job(2), 2, node, None)]),
        ("gateway that holds the node", None, [Assign(job(2), 1, node + 1, None)]),
        ("from the attempt that holds", None, [Deliver(job(0), 1, node, None)]),
        ("from the attempt that holds", Result(job(0), 2, node), [Deliver(job(0), 2, node, None)]),
        ("from the attempt that holds", Result(job(0), 1, 7), [Deliver(job(0), 1, node, None)]),
        ("is delivered", Result(job(0), 1, node), []),
        ("only a live job fails", None, [Failed(job(9), "X", "", 0, {}, b"")]),
        ("one connection per node", registration("n"), [NodeAccepted(2, node)]),
        ("one node for ever", registration("m"), [NodeAccepted(2, node)]),
        ("pairs once", ClaimPairing(1, "5", ""), [PairingAnswer(1, node, "n", "")]),
    ]


@pytest.mark.parametrize("index", range(len(lies(0))))
def test_a_core_that_says_otherwise_is_contradicted(bench: Bench, index: int) -> None:
    promise, event, effects = lies(bench.node)[index]
    with pytest.raises(InvariantViolation, match=promise):
        bench.lie(0, event, *effects)


def test_a_node_that_is_not_fit_must_not_be_given_jobs(bench: Bench) -> None:
    bench.say(0, Result(job(0), 1, bench.node))
    bench.ledger.told(0, Submit(job(8), 0b1000000001))
    bench.say(0, NodeHealth(bench.node, False, "ill"))
    with pytest.raises(InvariantViolation, match="only ready nodes"):
        bench.lie(0, Submit(job(7), WHOLE), Assign(job(7), 1, bench.node, None))
