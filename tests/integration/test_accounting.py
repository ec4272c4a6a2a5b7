"""accepted = completed + failed + cancelled + live, after every way a job can end."""

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack

from tests.integration.cluster import Cluster, Totals
from tests.integration.peers import (
    CORE_SERVICES,
    FakeNode,
    FakeSession,
    Message,
    a_node,
    a_session,
    answer,
    hold,
    until,
)

SETTINGS = {
    "scheduler.job_timeout_seconds": 0.5,
    "scheduler.job_timeout.pending_timeout_seconds": 0.5,
    "scheduler.job_timeout.failover_max_attempts": 2,
    "scheduler.model_not_available.unavailable_ttl_seconds": 0.3,
    "scheduler.feature_services.persona_adaptation": ["nobody-has-this"],
    "limits.jobs_per_session_max": 8,
    "server.public_stats": True,
}

SESSIONS, NODES, UTTERANCES = 16, 6, 12


class Outcomes:
    """What the sessions were told."""

    def __init__(self) -> None:
        self.spoken = 0
        self.ends: Counter[str] = Counter()

    def count(self, messages: list[Message]) -> None:
        for message in messages:
            if message["type"] == "translation_result":
                self.ends["completed"] += 1
            elif message["type"] == "error":
                job = "job_id" in message.get("details", {})
                self.ends["failed" if job else "refused"] += 1


async def moody(node: FakeNode, job: Message) -> None:
    """End each job in one of the ways that there are, drawn from the job's own trace."""
    draw = random.Random(job["trace_id"] + str(job["attempt_id"])).random()
    if draw < 0.6:
        await answer(node, job)
    elif draw < 0.7:
        await node.fail(job, "NMT_TIMEOUT")
    elif draw < 0.8:
        await node.fail(job, "NODE_OVERLOADED")
    elif draw < 0.85:
        await node.fail(job, "MODEL_NOT_AVAILABLE")
    elif draw < 0.9:
        await answer(node, job)
        await answer(node, job)  # twice
    else:
        await hold(node, job)  # until it times out


async def converse(session: FakeSession, number: int, outcomes: Outcomes) -> None:
    draw = random.Random(number)
    for index in range(UTTERANCES):
        features = {"persona_adaptation": draw.random() < 0.1}
        await session.speak(index, features=features, trace_id=f"{number}-{index}")
        outcomes.spoken += 1
        await asyncio.sleep(draw.random() * 0.05)


def stable_totals(cluster: Cluster, gateway: int) -> Totals:
    """Read until two readings agree: counters of a process are not read at one moment."""
    while True:
        first, second = cluster.totals(gateway), cluster.totals(gateway)
        if first == second:
            return second


async def test_every_outcome_is_counted_exactly_once(cluster: Cluster) -> None:
    outcomes = Outcomes()
    before = cluster.totals()
    async with AsyncExitStack() as stack:
        for _ in range(NODES):
            await stack.enter_async_context(
                a_node(cluster.node_url, moody, CORE_SERVICES, max_concurrent_jobs=5)
            )
        sessions = [
            await stack.enter_async_context(a_session(cluster.session_url)) for _ in range(SESSIONS)
        ]
        talks = [
            asyncio.create_task(converse(session, number, outcomes))
            for number, session in enumerate(sessions)
        ]
        while not all(talk.done() for talk in talks):
            for gateway in range(cluster.gateways):
                totals = stable_totals(cluster, gateway)
                assert totals.balance == 0, totals
            await asyncio.sleep(0.005)
        await asyncio.gather(*talks)
        # A quarter of them leave without waiting, the rest hears how each utterance ended.
        leaving, staying = sessions[: SESSIONS // 4], sessions[SESSIONS // 4 :]
        for session in leaving:
            await session.fence()
            outcomes.count(session.take_unread())
            await session.close()
        await until(lambda: cluster.totals().live == 0, "every job has ended")
        for session in staying:
            await session.fence()
            outcomes.count(session.take_unread())
    after = cluster.totals()
    accepted = after.accepted - before.accepted
    assert outcomes.ends["completed"] > 0
    assert outcomes.ends["failed"] > 0
    assert accepted == outcomes.spoken - outcomes.ends["refused"]
    ended = after.completed + after.failed + after.cancelled
    assert ended - before.completed - before.failed - before.cancelled == accepted
    # Those who stayed heard of every one; those who left may have left some unheard.
    assert after.completed - before.completed >= outcomes.ends["completed"]
    assert after.failed - before.failed >= outcomes.ends["failed"]
    heard = outcomes.ends["completed"] + outcomes.ends["failed"]
    cancelled = after.cancelled - before.cancelled
    assert accepted - heard >= cancelled


async def test_sessions_that_stay_hear_of_every_job_exactly_once(cluster: Cluster) -> None:
    outcomes = Outcomes()
    before = cluster.totals()
    async with AsyncExitStack() as stack:
        for _ in range(NODES):
            await stack.enter_async_context(a_node(cluster.node_url, moody))
        sessions = [
            await stack.enter_async_context(a_session(cluster.session_url)) for _ in range(SESSIONS)
        ]
        await asyncio.gather(
            *(converse(session, 100 + n, outcomes) for n, session in enumerate(sessions))
        )
        await until(lambda: cluster.totals().live == 0, "every job has ended")
        for session in sessions:
            await session.fence()
            outcomes.count(session.take_unread())
    after = cluster.totals()
    assert after.completed - before.completed == outcomes.ends["completed"]
    assert after.failed - before.failed == outcomes.ends["failed"]
    assert after.cancelled == before.cancelled
    assert outcomes.ends.total() == outcomes.spoken


async def test_the_dispatcher_counts_what_the_gateways_count(cluster: Cluster) -> None:
    names = ("submitted_total", "completed_total", "failed_total", "cancelled_total")
    submitted, completed, failed, cancelled = (cluster.dispatcher(name) for name in names)
    totals = cluster.totals()
    assert submitted == totals.accepted == completed + failed + cancelled
    # A result may cross with its session's end: completed there, cancelled here.
    assert completed >= totals.completed
    assert failed >= totals.failed
    assert cancelled <= totals.cancelled
    assert cluster.dispatcher("in_flight") == cluster.dispatcher("queued") == 0


async def test_the_snapshot_says_the_same(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak()
        await session.result()
    totals = cluster.totals()

    def jobs() -> Message:
        status, body = cluster.get(f"{cluster.scheduler.ops_url}/api/v1/stats")
        assert status == 200
        found: Message = json.loads(body)["scheduler"]["jobs"]
        return found

    await until(lambda: jobs()["accepted"] == totals.accepted, "a snapshot of now")
    assert jobs() == {**totals._asdict(), "queued": 0, "in_flight": 0}
    status, body = cluster.get(f"{cluster.scheduler.public_url}/api/v1/stats")
    assert status == 200  # where dashboards in the field expect it
    assert json.loads(body)["scheduler"]["jobs"]["accepted"] == totals.accepted
