"""Costs inside the dispatcher's core: a job's round, and the pass over all nodes' figures."""

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.config import Config
from scheduler.dispatch.core import REFRESH_NS, Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import Assign, Deliver, NodeHealth, RegisterNode, Result, Submit
from scheduler.selection.services import distinct_classes

CORE = ["node-inference", "nmt-m2m100", "piper-tts"]
WHOLE = 0b111
START_NS = 10**12
DAY_SECONDS = 86_400
CONFIG = msgspec.convert(
    {
        "scheduler": {  # so that no job times out while the clock runs fast
            "job_timeout_seconds": DAY_SECONDS,
            "task_binding": {"reserved_ttl_seconds": DAY_SECONDS},
        }
    },
    Config,
)


def make_core(nodes: int) -> tuple[Dispatcher, Tables]:
    """Return a core with that many ready nodes of four slots, a quarter of them busy."""
    tables = Tables.allocate(nodes, distinct_classes(CONFIG.scheduler))
    core = Dispatcher(CONFIG, tables, gateways=1)
    for number in range(nodes):
        node_id = f"node-{number}"
        record = RegisterNode(number, node_id, node_id, 4, True, CORE, CORE, 8.0, 32.0, 1, 24.0)
        core.receive(0, record, START_NS)
    for ref in tables.nodes.ref.tolist():
        core.receive(0, NodeHealth(ref, True, ""), START_NS)
    for number in range(nodes // 4):
        core.receive(0, Submit(job_key_base(0, 2) + number, WHOLE), START_NS)
    core.outbox[0].clear()
    return core, tables


@pytest.mark.parametrize("nodes", [1_000, 10_000])
def test_submit_and_result(benchmark: BenchmarkFixture, nodes: int) -> None:
    core, tables = make_core(nodes)
    outbox = core.outbox[0]
    job = job_key_base(0, 1)

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


@pytest.mark.parametrize("nodes", [1_000, 10_000])
def test_refresh(benchmark: BenchmarkFixture, nodes: int) -> None:
    core, tables = make_core(nodes)
    tables.nodes.usage_ref[:] = tables.nodes.ref
    now_ns = START_NS

    def one_pass() -> None:
        nonlocal now_ns
        now_ns += REFRESH_NS
        tables.nodes.heartbeat_ns[:] = now_ns
        core.tick(now_ns)

    benchmark(one_pass)
    assert core.outbox[0] == []  # no node was found silent
