"""Dispatcher cores with nodes, for the benchmarks of their parts."""

from itertools import islice

import msgspec

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import CancelJob, NodeHealth, RegisterNode, Submit
from scheduler.protocol.requirements import FEATURES, REQUIREMENTS_TOTAL

CORE = ["node-inference", "nmt-m2m100", "piper-tts"]
WHOLE = 0b111
START_NS = 10**12
SLOTS = 4
_DAY_SECONDS = 86_400
CONFIG = msgspec.convert(
    {
        "scheduler": {
            # so that no job times out while the clock runs fast
            "job_timeout_seconds": _DAY_SECONDS,
            "task_binding": {"reserved_ttl_seconds": _DAY_SECONDS},
            # so that each requirement is a class of its own
            "feature_services": {feature: [feature] for feature in FEATURES},
        }
    },
    Config,
)


def requirements(classes: int) -> list[int]:
    """Return that many requirements of different classes, the whole pipeline first."""
    others = (r for r in range(REQUIREMENTS_TOTAL) if r != WHOLE)
    return [WHOLE, *islice(others, classes - 1)]


def make_core(nodes: int, classes: int = 1, *, spare: int = 0) -> tuple[Dispatcher, Tables]:
    """Return a core with ready nodes of four slots, a quarter of them busy with a job.

    Each node has all services; that many classes of jobs are in use, `spare` more have rows.
    """
    tables = Tables.allocate(nodes, classes + spare)
    core = Dispatcher(CONFIG, tables, gateways=1)
    job = job_key_base(0, 2)
    # Before there are nodes: each class would look at all of them.
    for number, requirement in enumerate(requirements(classes), job):
        core.receive_all(0, [Submit(number, requirement), CancelJob(number, "")], START_NS)
    services = [*CORE, *FEATURES]
    for number in range(nodes):
        node_id = f"node-{number}"
        record = RegisterNode(
            number, node_id, node_id, SLOTS, True, services, services, 8.0, 32.0, 1, 24.0
        )
        core.receive(0, record, START_NS)
    for ref in tables.nodes.ref.tolist():
        core.receive(0, NodeHealth(ref, True, ""), START_NS)
    for number in range(job, job + nodes // 4):
        core.receive(0, Submit(number, WHOLE), START_NS)
    follow(tables)
    core.outbox[0].clear()
    return core, tables


def follow(tables: Tables) -> None:
    """Write what a gateway would of its nodes: they hold the jobs that they were given."""
    tables.nodes.usage_ref[:] = tables.nodes.ref
    tables.nodes.held[:] = tables.nodes.in_flight
