"""Everything at once: nodes that fail, leave and come back, sessions that leave, killed processes.

Whatever happens, who stays hears exactly once of each utterance, and at the end nothing is left.
"""

import asyncio
import random
from contextlib import AsyncExitStack, suppress

import pytest
from websockets.exceptions import WebSocketException

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW
from tests.integration.cluster import Cluster
from tests.integration.peers import FakeNode, Message, a_node, a_session, answer, raw_session
from tests.integration.talk import Talker, kill_and_wait, talking

SETTINGS = {
    "scheduler.job_timeout_seconds": 0.4,
    "scheduler.job_timeout.pending_timeout_seconds": 2,
    "scheduler.model_not_available.unavailable_ttl_seconds": 0.2,
    "scheduler.node_health.forget_after_seconds": 0.5,
    "limits.messages_per_second_max": 100_000,
}

MAY_STAY = {"arena_used_bytes"}
"""A result on its way to a gateway that died is freed only once it is surely not wanted."""

KILLS = {
    "none": (),
    "dispatcher": (DISPATCHER_ROW, DISPATCHER_ROW),
    "gateway": (FIRST_GATEWAY_ROW, DISPATCHER_ROW),
}
SESSIONS, NODES, SECONDS = 8, 6, 1.5


class Moods:
    """How a node ends its jobs, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    async def work(self, node: FakeNode, job: Message) -> None:
        draw = self._draw.random()
        await asyncio.sleep(0.02 * self._draw.random())
        if draw < 0.85:
            await answer(node, job)
        elif draw < 0.9:
            await node.fail(job, "NODE_OVERLOADED")
        elif draw < 0.92:
            await node.fail(job, "MODEL_NOT_AVAILABLE")
        elif draw < 0.95:
            await node.fail(job, "TTS_TIMEOUT")
        elif draw < 0.98:
            await answer(node, job)
            await answer(node, job)


async def come_and_go(cluster: Cluster, number: int, over: asyncio.Event) -> None:
    """Be a node that leaves now and then, with and without a goodbye."""
    draw = random.Random(number)
    while not over.is_set():
        # The connection may be cut by a kill at any moment, also while it is being made.
        with suppress(OSError, WebSocketException, AssertionError):
            async with a_node(
                cluster.node_url, Moods(draw.getrandbits(32)).work, node_id=f"node-{number}"
            ) as node:
                stay = asyncio.create_task(over.wait())
                await asyncio.wait({stay}, timeout=0.2 + draw.random())
                stay.cancel()
                if draw.random() < 0.5:
                    await node.abort()
        await asyncio.sleep(0.02)


async def drop_in(cluster: Cluster, number: int, over: asyncio.Event) -> None:
    """Be one session after the other that leaves in the middle of a sentence."""
    draw = random.Random(number)
    while not over.is_set():
        with suppress(OSError, WebSocketException, AssertionError):
            async with raw_session(cluster.session_url) as session:
                await session.init()
                for index in range(draw.randrange(6)):
                    await session.speak(index, draw.randbytes(draw.randrange(1, 20_000)))
                await asyncio.sleep(0.05 * draw.random())
                if draw.random() < 0.5:
                    await session.abort()


@pytest.mark.parametrize("rows", KILLS.values(), ids=KILLS)
async def test_who_stays_hears_once_of_everything(cluster: Cluster, rows: tuple[int, ...]) -> None:
    over = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for number in range(NODES):
            group.create_task(come_and_go(cluster, number, over))
        sessions = [
            await stack.enter_async_context(a_session(cluster.session_url)) for _ in range(SESSIONS)
        ]
        for number in range(4):
            group.create_task(drop_in(cluster, number, over))
        try:
            async with talking(sessions) as talkers:
                for row in rows:
                    await asyncio.sleep(SECONDS / (len(rows) + 1))
                    await kill_and_wait(cluster, row)
                await asyncio.sleep(SECONDS / (len(rows) + 1))
                for talker in talkers:
                    await talker.finish()
                    check(talker)
                assert sum(talker.results.total() for talker in talkers) > 0
        finally:
            over.set()
    cluster.check_settled(besides=MAY_STAY if FIRST_GATEWAY_ROW in rows else ())


def check(talker: Talker) -> None:
    ends = talker.results + talker.errors
    assert max(ends.values(), default=1) == 1, "something was told twice"
    assert talker.order == sorted(talker.order), "results left in another order"
    if not talker.session.is_closed:
        assert len(ends) == talker.spoken, "something was never told"
