"""Gateways and the stats process are killed under load: what they held ends, all else goes on."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import psutil

from scheduler.memory.layout import FIRST_GATEWAY_ROW, STATS_ROW
from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, answer_after, hold, until
from tests.integration.placed import node_at, session_at
from tests.integration.talk import kill_and_wait, talking
from tests.top.test_run import once

SETTINGS = {
    "scheduler.job_timeout_seconds": 10,
    "limits.messages_per_second_max": 100_000,
}

MAY_STAY = {"arena_used_bytes"}
"""A result on its way to a gateway that died is freed only once it is surely not wanted."""


async def test_a_killed_gateways_jobs_end_and_the_others_go_on(cluster: Cluster) -> None:
    dying, living = 0, 1
    async with AsyncExitStack() as stack:
        nodes = {
            gateway: [
                await stack.enter_async_context(node_at(cluster, gateway, answer_after(0.01)))
                for _ in range(2)
            ]
            for gateway in (dying, living)
        }
        lost = [await stack.enter_async_context(session_at(cluster, dying)) for _ in range(3)]
        kept = [await stack.enter_async_context(session_at(cluster, living)) for _ in range(3)]
        async with talking([*lost, *kept]) as talkers:
            await asyncio.gather(*(talker.go_on(10) for talker in talkers))
            await kill_and_wait(cluster, FIRST_GATEWAY_ROW + dying)
            surviving = talkers[len(lost) :]
            await asyncio.gather(*(talker.go_on(20) for talker in surviving))
            for talker in surviving:
                await talker.finish()
                talker.check_one_result_each()
            for session in lost:
                await session.closed()
        for node in nodes[dying]:
            await node.closed()
        assert not any(peer.is_closed for peer in (*kept, *nodes[living]))
        # What the dead gateway had accepted is settled; the new one takes over its counters.
        totals = cluster.totals(dying)
        assert (totals.live, totals.balance) == (0, 0)
        assert totals.accepted > 0
        session = await stack.enter_async_context(session_at(cluster, dying))
        node = await stack.enter_async_context(node_at(cluster, dying))
        await session.speak()
        await session.result()
        assert cluster.nodes()[node.node_id].status == Status.READY


async def test_a_killed_gateway_leaves_no_slot_taken(cluster: Cluster) -> None:
    """Its sessions' jobs are cancelled on the others' nodes; its nodes' jobs fail over."""
    async with (
        session_at(cluster, 0) as lost,
        session_at(cluster, 1) as kept,
        node_at(cluster, 0, hold) as leaving,
    ):
        before = cluster.totals(0).cancelled
        await kept.speak()
        job = await leaving.job()
        async with node_at(cluster, 1, hold) as staying:
            await lost.speak(7)
            cancelled = await staying.job(7)  # the idle one of the two
            await kill_and_wait(cluster, FIRST_GATEWAY_ROW)
            await staying.expect("job_cancel", job_id=cancelled["job_id"])
            moved = await staying.job(0)
            assert moved == {**job, "attempt_id": 2}
            await staying.complete(moved)
            await kept.result()
            assert cluster.totals(0).cancelled == before + 1


async def test_not_ready_until_the_new_process_serves(cluster: Cluster) -> None:
    row = FIRST_GATEWAY_ROW
    pid = cluster.pid(row)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: cluster.pid(row) != pid, "its end is seen")
    while not cluster.is_ready():
        await asyncio.sleep(0)
    assert cluster.serves(row)


async def test_a_killed_stats_process_is_noticed_by_nobody_else(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        async with talking([session]) as [talker]:
            await talker.go_on(5)
            with standing_still(cluster.scheduler.process.pid):  # so that there is no other
                stats = psutil.Process(cluster.pid(STATS_ROW))
                stats.kill()
                await until(lambda: stats.status() == psutil.STATUS_ZOMBIE, "it is dead")
                await talker.go_on(20)
                # `top` shows the jobs go on, as it asks nobody.
                while not await has_jobs_without_stats(cluster):
                    await asyncio.sleep(0.02)
            await until(lambda: cluster.pid(STATS_ROW) not in {0, stats.pid}, "another is started")
            await until(cluster.is_ready, "/ready answers 200 again")
            await talker.go_on(5)
            await talker.finish()
            talker.check_one_result_each()
        assert not node.is_closed
        assert not session.is_closed


async def has_jobs_without_stats(cluster: Cluster) -> bool:
    """Whether `top` shows jobs that ended just now, and a stats process without a heartbeat."""
    frame = (await asyncio.to_thread(once, cluster.scheduler))["frame"]
    fresh = {process["role"] for process in frame["processes"] if process["fresh"]}
    others_live = {"dispatcher", "gateway"} <= fresh
    return frame["rates"]["jobs_completed_per_s"] > 0 and others_live and "stats" not in fresh


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """Stop a process for the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
