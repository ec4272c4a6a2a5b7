from dataclasses import replace
from random import Random

import pytest

from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import ArenaRef, Assign, Failure, NodeAccepted, NodeGone, Result
from scheduler.simulation.checks import Outcomes
from scheduler.simulation.clock import Clock
from scheduler.simulation.gateway import GatewayModel
from scheduler.simulation.link import Pipe
from scheduler.simulation.node import NodeModel
from scheduler.simulation.scenario import Scenario

REF = 1 << 20
JOB = job_key_base(1, 1) + 1


class Bench:
    """A node on a gateway whose records come out at once."""

    def __init__(self, seed: int, **tempers: float) -> None:
        self.sent: list[object] = []
        self.clock = Clock()
        calm = {"failing_share": 0.0, "silent_share": 0.0, **tempers}
        scenario = replace(Scenario.draw(Random(seed)), **calm)  # type: ignore[arg-type]
        rng = Random(seed)
        columns = Tables.allocate(1, 1).nodes
        self.gateway = GatewayModel(0, 1, columns, Outcomes(), self, shares_payloads=True)
        self.gateway.attach(Pipe(self.clock, rng, 1, self.sent.append))
        self.codes: list[str] = []
        self.node = NodeModel(3, scenario, self.clock, rng, self.codes.append)
        self.node.connect(self.gateway)
        self.gateway.receive(NodeAccepted(1, REF))

    def request_is_there(self, _: ArenaRef) -> bool:
        return True

    def take_result(self, _payload: ArenaRef, _job: int) -> bool:
        return True

    def may_be_lost(self, _: ArenaRef) -> bool:
        return False

    def work(self, jobs: int = 20) -> list[object]:
        """Give the node jobs; return what it sent until nothing more was to be done."""
        for number in range(jobs):
            payload = ArenaRef(1, 0, 1, number)
            self.gateway.receive(Assign(JOB + number, 1, REF, payload))
        self.run()
        return self.sent

    def run(self) -> None:
        while self.clock._calls:
            self.clock.step()


def results(sent: list[object]) -> list[int]:
    return [record.job - JOB for record in sent if isinstance(record, Result)]


def test_a_calm_node_finishes_each_job_once() -> None:
    assert sorted(results(Bench(1).work())) == list(range(20))


def test_a_failing_node_says_why() -> None:
    sent = Bench(1, failing_share=1.0).work()
    failures = [record for record in sent if isinstance(record, Failure)]
    assert len(failures) == 20
    assert len({failure.code for failure in failures}) > 5


def test_a_silent_node_says_nothing() -> None:
    assert results(Bench(1, silent_share=1.0).work()) == []


def test_a_node_that_lost_a_model_names_it() -> None:
    bench = Bench(1)
    bench.node.lacks = "nmt-m2m100"
    sent = bench.work(3)
    failures = [record for record in sent if isinstance(record, Failure)]
    assert {(f.code, f.service) for f in failures} == {("MODEL_NOT_AVAILABLE", "nmt-m2m100")}


@pytest.mark.parametrize("how", ["hang", "disconnect"])
def test_a_node_that_is_away_answers_nothing(how: str) -> None:
    bench = Bench(1)
    for number in range(5):
        bench.gateway.receive(Assign(JOB + number, 1, REF, ArenaRef(1, 0, 1, number)))
    if how == "hang":
        bench.node.hung = True
    else:
        bench.node.disconnect()
    bench.run()
    assert results(bench.sent) == []
    assert any(isinstance(record, NodeGone) for record in bench.sent) == (how == "disconnect")


def test_a_node_recovers_from_all_but_a_lost_connection() -> None:
    node = Bench(1).node
    node.fit, node.hung, node.lacks, node.cpu_percent, node.external_jobs = False, True, "x", 9.0, 1
    node.recover()
    assert (node.fit, node.hung, node.lacks) == (True, False, "")
    assert (node.cpu_percent, node.external_jobs) == (0.0, 0)


def test_a_node_keeps_its_id_over_its_connections() -> None:
    bench = Bench(1)
    bench.node.disconnect()
    assert bench.node.gateway is None
    bench.node.connect(bench.gateway)
    ids = {socket.registration.node_id for socket in bench.gateway.sockets.values()}
    assert ids == {"node-3"}
