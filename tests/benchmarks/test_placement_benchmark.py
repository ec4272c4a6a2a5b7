"""Costs of placement by the number of nodes and of classes of jobs in use.

Each node serves each class, which is the dearest case: a change of a node is a store per class.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.dispatch.core import REFRESH_NS, Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import Assign, NodeHealth, NodeStatusChanged, Submit
from scheduler.protocol.status import Status
from scheduler.selection.scores import INFINITE
from tests.benchmarks.cores import SLOTS, START_NS, make_core, requirements
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized

SHAPES = sized(
    full=[
        *((nodes, 1) for nodes in (100, 1_000, 10_000, 100_000)),
        *((1_000, classes) for classes in (16, 256)),
        (10_000, 256),
    ],
    small=[(20, 1), (50, 4)],
)
"""(nodes, classes)"""

FIRST_JOBS = sized([(1_000, 1), (1_000, 16), (10_000, 16), (10_000, 64)], [(20, 1)])
ROUNDS = sized(10, 2)
JOB = job_key_base(0, 1)

Built = tuple[Dispatcher, Tables]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "{}-{}".format(*shape))
def built(request: pytest.FixtureRequest) -> Built:
    return make_core(*request.param)


@pytest.fixture
def placing(built: Built) -> Iterator[Built]:
    """The core, whose loads must be what they were when a benchmark has ended."""
    _, tables = built
    before = tables.nodes.in_flight.copy()
    yield built
    assert (tables.nodes.in_flight == before).all()


def test_choose(benchmark: BenchmarkFixture, placing: Built) -> None:
    """Beside gathering the scores of those that are eligible, and working both out anew."""
    core, tables = placing
    placement = core._flow._placement
    service_class = next(iter(placement.classes))
    row, nodes = service_class.row, tables.nodes
    candidates = np.flatnonzero(row != INFINITE)
    needed = tables.class_services[0]

    def gathered() -> int:
        return int(candidates[row[candidates].argmin()])

    def worked_out() -> int:
        fit = (nodes.ready & ~nodes.marked & needed == needed).all(axis=1)
        fit &= (nodes.status == Status.READY) & (nodes.in_flight < nodes.capacity)
        return int(np.where(fit, row, INFINITE).argmin())

    chosen = beside(
        benchmark,
        lambda: placement.choose(service_class),
        gathering=gathered,
        working_out=worked_out,
    )
    assert chosen == gathered() == worked_out()
    assert row[chosen] == row.min() < INFINITE


def test_choose_passing_over(benchmark: BenchmarkFixture, placing: Built) -> None:
    placement = placing[0]._flow._placement
    service_class = next(iter(placement.classes))
    failed = (placement.choose(service_class),)
    chosen = benchmark(placement.choose, service_class, failed)
    assert chosen not in {-1, *failed}


def test_rescore(benchmark: BenchmarkFixture, placing: Built) -> None:
    core, tables = placing
    node = core._flow._table.at(0)
    tables.scores[:, 0] = 0
    benchmark(core._flow._placement.rescore, node)
    served = tables.scores[: len(node.classes), 0]
    assert (served == served[0]).all()
    assert served[0] != 0


def test_heartbeat(benchmark: BenchmarkFixture, placing: Built) -> None:
    """A heartbeat that changes a node's load, with the pass over all nodes that finds it."""
    core, tables = placing
    now_ns = core._refresh_due_ns or START_NS
    tables.nodes.external_jobs[0] = 0

    def beat() -> None:
        nonlocal now_ns
        now_ns += REFRESH_NS
        tables.nodes.heartbeat_ns[:] = now_ns
        tables.nodes.external_jobs[0] ^= 1
        core.tick(now_ns)

    benchmark(beat)
    assert core._flow._table.at(0).external_jobs == tables.nodes.external_jobs[0]
    assert core.outbox[0] == []


def test_status_change(benchmark: BenchmarkFixture, placing: Built) -> None:
    """A node that is unfit, and fit again: out of all classes, and into them."""
    core, tables = placing
    ref = int(tables.nodes.ref[-1])
    outbox = core.outbox[0]

    def there_and_back() -> list[int]:
        core.receive(0, NodeHealth(ref, False, ""), START_NS)
        core.receive(0, NodeHealth(ref, True, ""), START_NS)
        told = [record.status for record in outbox if type(record) is NodeStatusChanged]
        outbox.clear()
        return told

    assert benchmark(there_and_back) == [Status.DEGRADED, Status.READY]
    assert tables.nodes.capacity[-1] == SLOTS
    served = [service_class.members for service_class in core._flow._placement.classes]
    assert set(served) == {len(tables.nodes.ref)}


@pytest.mark.parametrize(("nodes", "classes"), FIRST_JOBS)
def test_first_job_of_a_class(benchmark: BenchmarkFixture, nodes: int, classes: int) -> None:
    """The job that brings a class into use looks at all nodes; others wait for it."""
    core, _ = make_core(nodes, classes, spare=ROUNDS)
    unused = iter(requirements(classes + ROUNDS)[classes:])

    def record() -> tuple[tuple[int, Submit, int], dict[str, Any]]:
        requirement = next(unused)
        return (0, Submit(JOB + requirement, requirement), START_NS), {}

    pedantic: Any = benchmark.pedantic
    pedantic(core.receive, setup=record, rounds=ROUNDS)
    assert {type(record) for record in core.outbox[0]} == {Assign}
    in_use = {each.mask for each in core._flow._placement.classes}
    assert len(in_use) == classes + (ROUNDS if benchmark.enabled else 1)
