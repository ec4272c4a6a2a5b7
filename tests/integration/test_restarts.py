"""The dispatcher is killed under load: connections stay, every job still ends exactly once.

At most four deaths in a module: a fifth within half a minute ends the scheduler.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import pytest

from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import answer_after, encoded, hold, until
from tests.integration.placed import node_at, session_at
from tests.integration.talk import kill_and_wait, talking

SETTINGS = {
    "scheduler.job_timeout_seconds": 10,
    "limits.messages_per_second_max": 100_000,
}


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


async def test_a_stuck_dispatcher_is_replaced(cluster: Cluster) -> None:
    async with (
        node_at(cluster, 0, hold) as node,
        session_at(cluster, 1) as session,
    ):
        await session.speak(0)
        job = await node.job(0)
        pid = cluster.pid(DISPATCHER_ROW)
        os.kill(pid, signal.SIGSTOP)
        await node.complete(job)
        await session.speak(1)
        await until(lambda: not cluster.is_ready(), "/ready says so")
        await until(lambda: cluster.pid(DISPATCHER_ROW) not in {0, pid}, "another is started")
        await session.result(0)
        await node.complete(await node.job(1))
        await session.result(1)
        await until(cluster.is_ready, "/ready answers 200 again")
