"""Processes are killed under load: connections stay, and every job still ends exactly once."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import pytest

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    a_node,
    a_session,
    answer_after,
    encoded,
    hold,
    until,
)
from tests.integration.placed import node_at, session_at
from tests.integration.talk import talking

SETTINGS = {
    "scheduler.job_timeout_seconds": 10,
    "limits.messages_per_second_max": 100_000,
}


async def kill_and_wait(cluster: Cluster, row: int) -> None:
    """Kill the process of a row of `processes`; return when another one serves in its place."""
    pid = cluster.pid(row)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: cluster.pid(row) not in {0, pid}, "another process is started")
    await until(lambda: cluster.serves(row), "it serves")
    await until(cluster.is_ready, "/ready answers 200 again")


async def test_a_killed_dispatcher_loses_and_repeats_nothing(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(node_at(cluster, n % 2, answer_after(0.01)))
            for n in range(4)
        ]
        sessions = [await stack.enter_async_context(session_at(cluster, n % 2)) for n in range(6)]
        refs = {node.node_id: cluster.nodes()[node.node_id].ref for node in nodes}
        before = cluster.totals()
        async with talking(sessions) as talkers:
            await asyncio.gather(*(talker.go_on(20) for talker in talkers))
            await kill_and_wait(cluster, DISPATCHER_ROW)
            await asyncio.gather(*(talker.go_on(20) for talker in talkers))
            for talker in talkers:
                await talker.finish()
                talker.check_one_result_each()
            spoken = sum(talker.spoken for talker in talkers)
        assert not any(peer.is_closed for peer in (*nodes, *sessions))
        after = cluster.totals()
        assert after.accepted - before.accepted == spoken
        assert after.completed - before.completed == spoken
        # Nodes kept their rows, and with them their pairings.
        assert {n: cluster.nodes()[n].ref for n in refs} == refs
        assert all(cluster.nodes()[n].status == Status.READY for n in refs)
        statuses = [m["status"] for n in nodes for m in n.unread if m["type"] == "node_status"]
        assert not statuses  # and were told nothing, for nothing changed for them


@pytest.mark.parametrize(("home", "away"), [(0, 0), (0, 1)], ids=["one gateway", "across"])
async def test_a_running_attempt_goes_on_under_a_new_dispatcher(
    cluster: Cluster, home: int, away: int
) -> None:
    async with (
        node_at(cluster, away, hold) as node,
        session_at(cluster, home) as session,
    ):
        for index in range(3):
            await session.speak(index)
        jobs = [await node.job(index) for index in range(3)]
        pid = cluster.pid(DISPATCHER_ROW)
        os.kill(pid, signal.SIGKILL)
        await node.complete(jobs[0], tts_audio=encoded(b"meanwhile"))
        await session.speak(3)  # accepted while there is no dispatcher
        await until(lambda: cluster.pid(DISPATCHER_ROW) not in {0, pid}, "a new one")
        await node.complete(jobs[1])
        assert (await session.result(0))["tts_audio"] == encoded(b"meanwhile")
        await session.result(1)
        await until(lambda: cluster.nodes()[node.node_id].in_flight == 2, "the slots are held")
        await node.complete(jobs[2])
        await node.complete(await node.job(3))
        await session.result(2)
        await session.result(3)
        assert not [m for m in node.unread if m["type"] == "job_cancel"]
        assert [job["attempt_id"] for job in node.assigned] == [1, 1, 1, 1]
        events = [m["event"] for m in session.unread]
        assert events.count("DISPATCHED") == 4
        await until(cluster.is_ready, "/ready answers 200 again")


async def test_a_killed_stats_process_is_noticed_by_nobody_else(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        async with talking([session]) as [talker]:
            await talker.go_on(5)
            await kill_and_wait(cluster, STATS_ROW)
            await talker.go_on(5)
            await talker.finish()
            talker.check_one_result_each()
        assert not node.is_closed
        assert not session.is_closed


async def test_a_killed_gateways_jobs_end_and_the_others_go_on(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with AsyncExitStack() as stack:
        dying, living = 0, 1
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
        assert cluster.dispatcher("attempts_timed_out_total") == 0
        # What the dead gateway had accepted is settled; the new one takes over its counters.
        totals = cluster.totals(dying)
        assert (totals.live, totals.balance) == (0, 0)
        assert totals.accepted > 0
        session = await stack.enter_async_context(session_at(cluster, dying))
        node = await stack.enter_async_context(node_at(cluster, dying))
        await session.speak()
        await session.result()
        assert cluster.nodes()[node.node_id].status == Status.READY
    # A result that was on its way to the dead gateway is freed only when it is surely not wanted.
    cluster.check_settled(besides={"arena_used_bytes"})


async def test_a_killed_gateway_leaves_no_slot_taken(own_cluster: Cluster) -> None:
    """Its sessions' jobs are cancelled on the others' nodes; its nodes' jobs fail over."""
    cluster = own_cluster
    async with (
        session_at(cluster, 0) as lost,
        session_at(cluster, 1) as kept,
        node_at(cluster, 0, hold) as leaving,
    ):
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
            assert cluster.totals(0).cancelled == 1
    cluster.check_settled()


async def test_not_ready_until_the_new_process_serves(own_cluster: Cluster) -> None:
    cluster, row = own_cluster, FIRST_GATEWAY_ROW
    pid = cluster.pid(row)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: cluster.pid(row) != pid, "its end is seen")
    while not cluster.is_ready():
        await asyncio.sleep(0)
    assert cluster.serves(row)


async def test_a_killed_supervisor_takes_everything_with_it(own_cluster: Cluster) -> None:
    async with a_node(own_cluster.node_url) as node, a_session(own_cluster.session_url) as session:
        own_cluster.scheduler.process.kill()
        # Killed by the kernel, or first to see that the control socket is closed.
        assert await session.closed() in {1006, 1012}
        assert await node.closed() in {1006, 1012}
    own_cluster.scheduler.stop(signal.SIGKILL, exit_code=-signal.SIGKILL)
