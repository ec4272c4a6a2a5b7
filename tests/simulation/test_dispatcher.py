from random import Random

import pytest

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.records import (
    AnnounceDone,
    Assign,
    Failed,
    NodeAccepted,
    NodeHealth,
    NodeStatusChanged,
    Submit,
)
from scheduler.simulation.checks import History, InvariantViolation
from scheduler.simulation.clock import Clock
from scheduler.simulation.dispatcher import DispatcherHost
from scheduler.simulation.link import Pipe
from tests.dispatch.desk import WHOLE, job, registration

NODE = 1 << 20


class Bench:
    def __init__(self, *, takes_over: bool = False) -> None:
        self.clock = Clock()
        self.history = History()
        self.tables = Tables.allocate(4, 8)
        self.sent: list[object] = []
        self.host = DispatcherHost(
            Config(),
            self.tables,
            2,
            self.clock,
            self.history,
            {},
            Dispatcher,
            takes_over=takes_over,
        )
        self.host.attach(0, Pipe(self.clock, Random(1), 2, self.sent.append))

    def heard(self) -> list[type]:
        while self.clock._calls:
            self.clock.step()
        heard, self.sent[:] = [type(record) for record in self.sent], []
        return heard


def test_what_the_core_says_goes_through_the_pipe() -> None:
    bench = Bench()
    bench.host.receive(0, registration("n"))
    bench.host.receive(0, NodeHealth(NODE, True, ""))
    bench.host.receive(0, Submit(job(1), WHOLE))
    assert bench.heard() == [NodeAccepted, NodeStatusChanged, Assign]
    assert "from gateway 0" in str(bench.history)
    assert "to gateway 0" in str(bench.history)
    bench.host.check_all()


def test_what_is_for_a_gateway_without_a_pipe_is_dropped() -> None:
    bench = Bench()
    bench.host.receive(1, registration("n"))
    assert bench.host.core.outbox[1] == []
    assert bench.heard() == []


def test_time_passes_by_ticks() -> None:
    bench = Bench()
    bench.host.receive(0, Submit(job(1), WHOLE))
    bench.clock.now_ns += 10 * 10**9
    bench.host.tick()
    assert bench.heard() == [Failed]


def test_a_lost_gateway_is_no_longer_written_to() -> None:
    bench = Bench()
    bench.host.receive(0, registration("n"))
    bench.host.lose_gateway(0)
    bench.heard()
    bench.host.receive(0, registration("m"))
    assert bench.heard() == []


def test_a_successor_is_checked_from_the_end_of_its_recovery_on() -> None:
    bench = Bench(takes_over=True)
    recovering = [bench.host.audit.recovering]
    for gateway in (0, 1):
        bench.host.receive(gateway, AnnounceDone())
        recovering.append(bench.host.audit.recovering)
    assert recovering == [True, True, False]
    bench.host.receive(0, Submit(job(1), WHOLE))
    assert bench.host.audit.live == 1


def test_capacity_and_counts_are_checked_at_every_call() -> None:
    bench = Bench()
    bench.tables.nodes.in_flight[2] = 1
    with pytest.raises(InvariantViolation, match="more than its capacity"):
        bench.host.tick()
    bench.tables.nodes.in_flight[2] = 0
    bench.host.core.counts.submitted_total = 1
    with pytest.raises(InvariantViolation, match="submitted ="):
        bench.host.tick()
