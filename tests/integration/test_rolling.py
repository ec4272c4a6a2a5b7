"""All gateways are replaced under load, and nobody is refused or left without an answer."""

import asyncio
import socket
from collections import Counter

from scheduler.memory.layout import FIRST_GATEWAY_ROW
from scheduler.supervisor.rolling import roll
from tests.integration.cluster import Cluster
from tests.integration.peers import answer_after
from tests.integration.placed import node_at, session_at

SETTINGS = {"drain_seconds": 5, "limits.messages_per_second_max": 100_000}

ROLL_SECONDS_MAX = 50.0

MAY_STAY = {"arena_used_bytes"}
"""A result on its way to a gateway that was replaced is freed only once it is surely not wanted."""


async def roll_all(cluster: Cluster) -> list[int]:
    """Return the gateways in the order in which they were replaced."""

    def replaced() -> list[int]:
        return list(roll(cluster.scheduler.runtime_dir, ROLL_SECONDS_MAX))

    return await asyncio.to_thread(replaced)


def restarts(cluster: Cluster) -> list[int]:
    rows = cluster._views.column("processes", "restarts")[FIRST_GATEWAY_ROW:]
    return [int(count) for count in rows]


async def test_each_gateway_is_replaced_once_and_no_connection_is_refused(
    cluster: Cluster,
) -> None:
    over = asyncio.Event()
    seen: Counter[str] = Counter()
    address = cluster.scheduler.endpoints.public.rsplit(":", 1)

    async def knock() -> None:
        loop = asyncio.get_running_loop()
        while not over.is_set():
            with socket.socket() as caller:
                caller.setblocking(False)
                try:
                    await loop.sock_connect(caller, (address[0], int(address[1])))
                    seen["connected"] += 1
                except ConnectionRefusedError:
                    seen["refused"] += 1
            await asyncio.sleep(0.002)

    before = restarts(cluster)
    knocking = asyncio.create_task(knock())
    try:
        assert await roll_all(cluster) == [0, 1]
    finally:
        over.set()
        await knocking
    assert restarts(cluster) == [count + 1 for count in before]
    assert seen["connected"] > 50
    assert seen["refused"] == 0
    assert cluster.is_ready()


async def test_jobs_that_run_are_finished_before_their_session_is_closed(cluster: Cluster) -> None:
    async with (
        node_at(cluster, 1, answer_after(1.0)),
        session_at(cluster, 1) as session,
    ):
        await session.speak(0)
        await session.event("DISPATCHED")
        rolling = asyncio.create_task(roll_all(cluster))
        await session.result(0)
        assert await session.closed() == 1012
        await rolling


async def test_the_others_sessions_go_on_meanwhile(cluster: Cluster) -> None:
    """Gateway 1 comes second: until then its session notices nothing."""
    async with session_at(cluster, 1) as session, node_at(cluster, 1, answer_after(0.01)) as node:
        before = restarts(cluster)
        rolling = asyncio.create_task(roll_all(cluster))
        index = 0
        while restarts(cluster)[0] == before[0] and not session.is_closed:
            await session.speak(index)
            await session.result(index)
            index += 1
        assert index > 0
        assert await session.closed() == 1012
        await node.closed()
        await rolling


async def test_jobs_of_others_on_a_leaving_gateways_nodes_are_finished(cluster: Cluster) -> None:
    async with session_at(cluster, 1) as session, node_at(cluster, 0, answer_after(1.0)) as node:
        await session.speak(0)
        await session.event("DISPATCHED")
        before = cluster.dispatcher("failovers_total")
        rolling = asyncio.create_task(roll_all(cluster))
        status = await node.status("degraded")
        assert status["reason"] == "its gateway is being replaced"
        await session.result(0)
        assert await node.closed() == 1012
        await session.closed()
        await rolling
        assert cluster.dispatcher("failovers_total") == before
