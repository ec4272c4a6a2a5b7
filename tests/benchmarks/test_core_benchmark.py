"""Costs inside the dispatcher's core: a job's round, batches of records, and its ticks."""

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.dispatch.core import REFRESH_NS, Dispatcher
from scheduler.dispatch.settings import Deadlines
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import Assign, Deliver, Failed, Result, Submit
from tests.benchmarks.cores import CONFIG, SLOTS, START_NS, WHOLE, follow, make_core
from tests.benchmarks.sizes import sized

NODES = sized([1_000, 10_000], [20])
BATCHES = sized([1, 16, 256, 2_048], [1, 8])
QUEUED = sized(10_000, 600)
JOB = job_key_base(0, 1)


@pytest.mark.parametrize("nodes", NODES)
def test_submit_and_result(benchmark: BenchmarkFixture, nodes: int) -> None:
    core, tables = make_core(nodes)
    outbox = core.outbox[0]
    job = JOB

    def one_round() -> Deliver:
        nonlocal job
        job += 1
        core.receive(0, Submit(job, WHOLE), START_NS)
        assign = outbox.pop()
        assert type(assign) is Assign
        core.receive(0, Result(job, 1, assign.node), START_NS)
        deliver = outbox.pop()
        assert type(deliver) is Deliver
        return deliver

    assert benchmark(one_round).job == job
    assert int(tables.nodes.in_flight.sum()) == nodes // 4


@pytest.mark.parametrize("batch", BATCHES)
def test_batch_of_submits_and_results(benchmark: BenchmarkFixture, batch: int) -> None:
    """Jobs that come in together and are done together, at 1,000 nodes."""
    core, tables = make_core(NODES[0])
    outbox = core.outbox[0]
    job = JOB

    def one_batch() -> int:
        nonlocal job
        core.receive_all(0, [Submit(job + n, WHOLE) for n in range(batch)], START_NS)
        job += batch
        results = [Result(a.job, 1, a.node) for a in outbox if type(a) is Assign]
        outbox.clear()
        core.receive_all(0, [*results], START_NS)
        delivered = len(outbox)
        outbox.clear()
        return delivered

    assert benchmark(one_batch) == batch
    assert int(tables.nodes.in_flight.sum()) == NODES[0] // 4


@pytest.mark.parametrize("nodes", NODES)
def test_refresh(benchmark: BenchmarkFixture, nodes: int) -> None:
    core, tables = make_core(nodes)
    now_ns = START_NS

    def one_pass() -> None:
        nonlocal now_ns
        now_ns += REFRESH_NS
        tables.nodes.heartbeat_ns[:] = now_ns
        core.tick(now_ns)

    benchmark(one_pass)
    assert core.outbox[0] == []  # no node was found silent


# --- ticks, with jobs that wait --------------------------------------------------------------


def crowded() -> tuple[Dispatcher, Tables]:
    """Return a core whose slots are all taken and behind which QUEUED jobs wait."""
    core, tables = make_core(NODES[0])
    for n in range(NODES[0] * SLOTS - NODES[0] // 4 + QUEUED):
        core.receive(0, Submit(JOB + n, WHOLE), START_NS)
    follow(tables)
    core.outbox[0].clear()
    tables.nodes.heartbeat_ns[:] = START_NS
    core.tick(START_NS)
    core.update_gauges()
    assert core.counts.queued == QUEUED
    return core, tables


def test_tick_with_nothing_due(benchmark: BenchmarkFixture) -> None:
    core, _ = make_core(NODES[0])
    core.tick(START_NS)
    benchmark(core.tick, START_NS + 1)
    assert core.outbox[0] == []


def test_tick_before_many_deadlines(benchmark: BenchmarkFixture) -> None:
    core, _ = crowded()
    benchmark(core.tick, START_NS + 1)
    assert core.outbox[0] == []


def test_refresh_with_many_waiting(benchmark: BenchmarkFixture) -> None:
    core, tables = crowded()

    # The time stands still, so that no deadline comes; the pass is due by hand.
    def one_pass() -> None:
        core._refresh_due_ns = START_NS
        core.tick(START_NS)

    benchmark(one_pass)
    assert core.outbox[0] == []
    assert int(tables.nodes.in_flight.sum()) == NODES[0] * SLOTS


def test_tick_past_many_deadlines(benchmark: BenchmarkFixture) -> None:
    """As many jobs as a tick may, fail: each with its reasons and its answer."""
    core, tables = crowded()
    outbox = core.outbox[0]
    late_ns = START_NS + Deadlines.of(CONFIG).pending_ns + 1
    tables.nodes.heartbeat_ns[:] = late_ns
    core.tick(late_ns)  # the refresh that is due by then, and the first jobs
    each = len(outbox)
    outbox.clear()

    pedantic: Any = benchmark.pedantic
    pedantic(core.tick, (late_ns,), rounds=sized(30, 1))
    assert 0 < each <= len(outbox) <= QUEUED - each
    assert {type(record) for record in outbox} == {Failed}
