"""Peers at a gateway of the test's choice.

Which gateway accepts a connection is up to the kernel, so connections are opened until one is
where it should be; the others are closed again.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from scheduler.protocol.ids import gateway_of, parse_wire_job_id
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    Behaviour,
    FakeNode,
    FakeSession,
    Message,
    a_node,
    answer,
    raw_session,
)


@asynccontextmanager
async def node_at(
    cluster: Cluster, gateway: int, behaviour: Behaviour = answer, **register: Any
) -> AsyncGenerator[FakeNode]:
    """A ready node at that gateway."""
    while True:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(a_node(cluster.node_url, behaviour, **register))
            if cluster.nodes()[node.node_id].gateway == gateway:
                yield node
                return


@asynccontextmanager
async def session_at(cluster: Cluster, gateway: int, **init: Any) -> AsyncGenerator[FakeSession]:
    """An open session at that gateway. Nobody else may open sessions meanwhile."""
    while True:
        async with raw_session(cluster.session_url) as session:
            before = cluster.per_gateway("sessions_opened_total")
            await session.init(**init)
            after = cluster.per_gateway("sessions_opened_total")
            if after[gateway] > before[gateway]:
                yield session
                return


def accepted_by(cluster: Cluster, job: Message) -> int:
    """Return the gateway that answers for the job."""
    key = parse_wire_job_id(cluster.epoch, job["job_id"])
    assert key is not None
    return gateway_of(key)
