"""All peers come back at the same moment, after what they were connected to is gone."""

import asyncio
from contextlib import AsyncExitStack

from scheduler.memory.layout import FIRST_GATEWAY_ROW
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    FakeNode,
    FakeSession,
    a_node,
    a_session,
    until,
)
from tests.integration.talk import kill_and_wait

SETTINGS = {
    "gateways": 1,
    "scheduler.job_timeout_seconds": 10,
    "limits.sessions_per_gateway_max": 512,
}

SESSIONS = 300
NODES = 30


async def test_clients_and_nodes_that_all_come_back_at_once_are_all_served(
    cluster: Cluster,
) -> None:
    async with AsyncExitStack() as stack:

        async def come() -> FakeSession:
            return await stack.enter_async_context(a_session(cluster.session_url))

        async def come_as_node() -> FakeNode:
            return await stack.enter_async_context(a_node(cluster.node_url))

        await asyncio.gather(come(), come_as_node())
        refused = cluster.total("messages_refused_total")
        killing = asyncio.create_task(kill_and_wait(cluster, FIRST_GATEWAY_ROW))
        await until(lambda: not cluster.serves(FIRST_GATEWAY_ROW), "the gateway is gone")
        # They don't wait for the new one: the supervisor holds the listening socket.
        nodes = asyncio.gather(*(come_as_node() for _ in range(NODES)))
        sessions = await asyncio.gather(*(come() for _ in range(SESSIONS)))
        for session in sessions:
            await session.speak()
        for session in sessions:
            await session.result()
        await asyncio.gather(nodes, killing)
        assert cluster.total("messages_refused_total") == refused
        assert cluster.total("sessions") == SESSIONS
    cluster.check_settled()
