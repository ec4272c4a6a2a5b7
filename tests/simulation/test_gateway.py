from random import Random
from typing import Any

import pytest

from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE, job_key_base
from scheduler.protocol.records import (
    Announce,
    AnnounceDone,
    ArenaRef,
    Assign,
    CancelAttempt,
    CancelJob,
    Deliver,
    Discard,
    Dispatched,
    Failed,
    Failure,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeStatusChanged,
    OfferPairing,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
)
from scheduler.protocol.status import Status
from scheduler.simulation.checks import InvariantViolation, Outcomes
from scheduler.simulation.clock import Clock
from scheduler.simulation.gateway import GatewayModel, Socket
from scheduler.simulation.link import Pipe
from scheduler.simulation.session import Session

FIRST = job_key_base(0, 1) + 1
ELSEWHERE = job_key_base(1, 1) + 1
REF = 1 << 20


class Program:
    """A node that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def accepted(self) -> None:
        self.told.append("accepted")

    def refused(self) -> None:
        self.told.append("refused")

    def disconnected(self) -> None:
        self.told.append("disconnected")

    def assign(self, job: int, attempt: int) -> None:
        self.told.append(("assign", job, attempt))

    def cancel(self, job: int, attempt: int) -> None:
        self.told.append(("cancel", job, attempt))

    def pairing_code(self, code: str) -> None:
        self.told.append(code)


class Arenas:
    """Payloads of which each can be made to be gone."""

    def __init__(self) -> None:
        self.there = True
        self.died = False

    def request_is_there(self, _: ArenaRef) -> bool:
        return self.there

    def take_result(self, _payload: ArenaRef, _job: int) -> bool:
        return self.there

    def may_be_lost(self, _: ArenaRef) -> bool:
        return self.died


class Bench:
    """A gateway, its end of the pipe, and a node."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.clock = Clock()
        self.outcomes = Outcomes()
        self.arenas = Arenas()
        self.columns = Tables.allocate(4, 1).nodes
        self.gateway = GatewayModel(
            0, 1, self.columns, self.outcomes, self.arenas, shares_payloads=True
        )
        self.session = Session("192.0.2.1")
        self.node = Program()
        self.attach()
        self.heard()

    def attach(self) -> None:
        self.gateway.attach(Pipe(self.clock, Random(1), 2, self.sent.append))

    def heard(self) -> list[Any]:
        pipe = self.gateway._pipe
        while pipe is not None and len(pipe):
            self.clock.step()
        heard, self.sent[:] = list(self.sent), []
        return heard

    def join(self) -> Socket:
        record = RegisterNode(0, "n", "n", 2, True, [], [], 1.0, 1.0, 0, 0.0)
        socket = self.gateway.connect(self.node, record)
        self.gateway.receive(NodeAccepted(socket.conn, REF))
        self.heard()
        return socket


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_job_is_kept_until_its_one_terminal_record(bench: Bench) -> None:
    bench.gateway.submit(bench.session, 7)
    assert bench.heard() == [Submit(FIRST, 7, NO_NODE, NO_NODE, ArenaRef(0, 0, 1, FIRST))]
    bench.gateway.receive(Failed(FIRST, "JOB_TIMEOUT", "", 0, {}, b""))
    assert bench.outcomes.how(FIRST) == "failed"
    assert not bench.gateway.jobs
    assert not bench.session.jobs
    with pytest.raises(InvariantViolation):
        bench.gateway.receive(Failed(FIRST, "JOB_TIMEOUT", "", 0, {}, b""))


def test_a_cancelled_job_may_still_be_answered(bench: Bench) -> None:
    bench.gateway.submit(bench.session, 7)
    bench.gateway.cancel(FIRST)
    assert bench.heard()[-1] == CancelJob(FIRST, "session closed")
    bench.gateway.receive(Failed(FIRST, "JOB_TIMEOUT", "", 0, {}, b""))
    assert bench.outcomes.how(FIRST) == "cancelled"


def test_a_delivered_result_must_be_there_unless_its_keeper_died(bench: Bench) -> None:
    for _ in range(2):
        bench.gateway.submit(bench.session, 7)
    bench.arenas.there = False
    with pytest.raises(InvariantViolation, match="can be read"):
        bench.gateway.receive(Deliver(FIRST, 1, 5, ArenaRef(1, 0, 1, 1)))
    bench.arenas.died = True
    bench.gateway.receive(Deliver(FIRST + 1, 1, 5, ArenaRef(1, 0, 1, 1)))
    assert bench.outcomes.how(FIRST + 1) == "failed"


def test_a_result_stays_until_it_is_acknowledged(bench: Bench) -> None:
    socket = bench.join()
    for job in (ELSEWHERE, ELSEWHERE + 1):
        bench.gateway.receive(Assign(job, 1, REF, ArenaRef(1, 0, 1, job)))
        bench.gateway.result(socket, job, 1)
    sent = bench.heard()
    assert [type(record) for record in sent] == [Result, Result]
    assert sent[0].payload != sent[1].payload
    assert len(bench.gateway.shelf) == 2
    bench.gateway.receive(Discard(ELSEWHERE, 1, REF))
    bench.gateway.receive(CancelAttempt(ELSEWHERE + 1, 1, REF, "superseded"))
    assert not bench.gateway.shelf


def test_results_of_attempts_that_the_node_does_not_hold_go_no_further(bench: Bench) -> None:
    socket = bench.join()
    bench.gateway.receive(Assign(ELSEWHERE, 2, REF, ArenaRef(1, 0, 1, 1)))
    bench.gateway.result(socket, ELSEWHERE, 1)
    bench.gateway.failure(socket, ELSEWHERE, 3, "X", "")
    assert bench.heard() == []
    bench.gateway.failure(socket, ELSEWHERE, 2, "X", "")
    bench.gateway.failure(socket, ELSEWHERE, 2, "X", "")
    assert [type(record) for record in bench.heard()] == [Failure]


def test_a_job_whose_request_is_gone_fails_at_once(bench: Bench) -> None:
    bench.join()
    bench.arenas.there = False
    bench.gateway.receive(Assign(ELSEWHERE, 1, REF, ArenaRef(1, 0, 1, 1)))
    assert [record.code for record in bench.heard()] == ["INTERNAL_ERROR"]
    assert bench.node.told == ["accepted"]


def test_heartbeats_are_written_where_the_dispatcher_reads_them(bench: Bench) -> None:
    socket = bench.join()
    bench.gateway.heartbeat(socket, fit=True, cpu_percent=50.0, external_jobs=3, now_ns=77)
    assert bench.columns.usage_ref[0] == REF
    assert (bench.columns.cpu_percent[0], bench.columns.external_jobs[0]) == (50.0, 3)
    assert bench.columns.heartbeat_ns[0] == 77
    assert bench.heard() == [NodeHealth(REF, True, "")]
    bench.gateway.receive(NodeStatusChanged(REF, Status.READY, ""))
    bench.gateway.heartbeat(socket, fit=True, cpu_percent=50.0, external_jobs=3, now_ns=78)
    assert bench.heard() == []
    bench.gateway.heartbeat(socket, fit=False, cpu_percent=50.0, external_jobs=3, now_ns=79)
    assert bench.heard() == [NodeHealth(REF, False, "unhealthy")]


def test_an_offline_node_is_cut_off_without_a_word(bench: Bench) -> None:
    socket = bench.join()
    bench.gateway.receive(NodeStatusChanged(REF, Status.OFFLINE, "silent"))
    assert bench.node.told[-1] == "disconnected"
    bench.gateway.close(bench.gateway.connect(bench.node, socket.registration))
    assert NodeGone not in map(type, bench.heard())


def test_a_node_that_left_before_it_was_accepted_is_told_gone(bench: Bench) -> None:
    bench.gateway.receive(NodeAccepted(99, REF))
    assert bench.heard() == [NodeGone(REF, "the node's connection closed")]


def test_a_new_dispatcher_is_told_everything(bench: Bench) -> None:
    socket = bench.join()
    bench.gateway.receive(NodeStatusChanged(REF, Status.READY, ""))
    for job in (ELSEWHERE, ELSEWHERE + 1):
        bench.gateway.receive(Assign(job, 1, REF, ArenaRef(1, 0, 1, job)))
    bench.gateway.result(socket, ELSEWHERE + 1, 1)
    bench.gateway.submit(bench.session, 7)
    bench.gateway.receive(Dispatched(FIRST, 2, 5))
    bench.gateway.claim(bench.session, "123456")
    bench.heard()
    bench.gateway.detach()
    bench.gateway.submit(bench.session, 7)
    bench.attach()
    node, first, second, done, result, claim = bench.heard()
    assert (node.status, node.conn) == (Status.READY, socket.conn)
    assert node.running == [RunningAttempt(ELSEWHERE, 1), RunningAttempt(ELSEWHERE + 1, 1)]
    assert isinstance(first, Announce)
    assert (first.job, first.attempt, first.node) == (FIRST, 2, 5)
    assert (second.job, second.attempt, second.node) == (FIRST + 1, 0, NO_NODE)
    assert done == AnnounceDone()
    assert (result.job, result.attempt) == (ELSEWHERE + 1, 1)
    bench.gateway.receive(PairingAnswer(claim.conn, 9, "n", ""))
    assert bench.session.paired == 9


def test_a_gateways_death_orphans_its_jobs(bench: Bench) -> None:
    bench.gateway.submit(bench.session, 7)
    bench.gateway.die()
    assert bench.outcomes.how(FIRST) == "orphaned"
    bench.gateway.receive(Failed(FIRST, "JOB_TIMEOUT", "", 0, {}, b""))


def test_a_code_is_offered_to_each_dispatcher_until_it_is_used(bench: Bench) -> None:
    bench.join()
    for _ in range(2):  # offered again: the node has it already
        bench.gateway.receive(PairingOffered(REF, "000007", True))
    assert bench.node.told == ["accepted", "000007"]
    bench.attach()
    assert OfferPairing(REF, "000007") in bench.heard()
    bench.gateway.receive(PairingClaimed(REF, "000007"))
    bench.attach()
    assert OfferPairing not in map(type, bench.heard())
