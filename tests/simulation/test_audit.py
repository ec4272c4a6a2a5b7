from collections.abc import Callable

import pytest

from scheduler.protocol.ids import slot_of
from scheduler.protocol.records import NodeHealth, Submit, ToDispatcher
from scheduler.simulation.audit import Audit
from scheduler.simulation.checks import InvariantViolation
from scheduler.simulation.ledger import Ledger
from tests.dispatch.desk import WHOLE, Desk, job, registration


class Bench:
    """A core with two nodes, three running jobs and one that waits for a service."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.ledger = Ledger(self.desk.config, self.desk.tables, {})
        self.audit = Audit(self.desk.core, self.desk.config, self.desk.tables)
        for number, name in enumerate("ab"):
            self.say(registration(name))
            self.say(NodeHealth(1 << 20 | number, True, ""))
        for number in range(3):
            self.say(Submit(job(number), WHOLE))
        self.say(Submit(job(3), WHOLE, paired=1 << 20))
        self.say(Submit(job(4), WHOLE, paired=1 << 20))

    def say(self, record: ToDispatcher) -> None:
        self.ledger.told(0, record)
        self.ledger.said(record, self.desk.say(0, record))

    def run(self) -> None:
        self.audit.run(self.ledger)


def leak(bench: Bench) -> None:
    node = bench.desk.core._table.at(0)
    node.jobs[99] = next(iter(node.jobs.values()))


def miscount(bench: Bench) -> None:
    bench.desk.tables.nodes.in_flight[0] += 1


def misscore(bench: Bench) -> None:
    bench.desk.tables.scores[0, 0] -= 1


def lose(bench: Bench) -> None:
    del bench.desk.core._flow._jobs[job(0)]


def strand(bench: Bench) -> None:
    flow = bench.desk.core._flow
    flow._pending.remove(flow._jobs[job(4)])


def mark(bench: Bench) -> None:
    bench.desk.tables.nodes.status[slot_of(1)] = 3


def tear(bench: Bench) -> None:
    bench.desk.tables.nodes.row_sequence[0] += 1


def starve(bench: Bench) -> None:
    bench.desk.core._table.at(0).capacity += 1


def test_a_sound_core_passes() -> None:
    bench = Bench()
    bench.run()
    assert bench.audit.live == 5
    assert not bench.audit.recovering


@pytest.mark.parametrize("damage", [leak, miscount, misscore, lose, strand, mark, tear, starve])
def test_damage_is_found(damage: Callable[[Bench], None]) -> None:
    bench = Bench()
    damage(bench)
    with pytest.raises(InvariantViolation):
        bench.run()


def test_a_ledger_can_start_from_the_cores_own_view() -> None:
    bench = Bench()
    found = bench.audit.entries()
    assert {key: (e.attempt, e.node) for key, e in found.items()} == {
        key: (e.attempt, e.node) for key, e in bench.ledger.jobs.items()
    }
    assert bench.audit.owners() == {1 << 20: "a", 1 << 20 | 1: "b"}
    assert set(bench.audit.connections().values()) == {0}
    assert bench.audit.codes() == {}
