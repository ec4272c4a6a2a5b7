"""Pairing: a session's jobs go to one node, and a private node serves nobody else."""

import asyncio
import string

from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    FakeSession,
    Message,
    a_node,
    a_session,
    answer,
    hold,
    raw_session,
    until,
)

CODE_TTL_SECONDS = 1.5
WRONG_MAX = 10
WINDOW_SECONDS = 1.5

SETTINGS = {
    "pairing.code_ttl_seconds": CODE_TTL_SECONDS,
    "pairing.wrong_per_address_max": WRONG_MAX,
    "pairing.window_seconds": WINDOW_SECONDS,
    "scheduler.job_timeout.pending_timeout_seconds": 0.5,
    "scheduler.node_health.forget_after_seconds": 0.5,
}


async def init_error(session: FakeSession, code: str) -> Message:
    """Try to pair; return the refusal."""
    await session.send(
        "session_init",
        client_version="1",
        platform="web",
        src_lang="zh",
        tgt_lang="en",
        pairing_code=code,
    )
    return await session.expect("error")


async def test_a_pairing_code_has_six_digits_and_says_how_long_it_holds(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node:
        await node.send("request_pairing_code")
        message = await node.expect("pairing_code")
        assert len(message["code"]) == 6
        assert set(message["code"]) <= set(string.digits)
        assert message["expires_in_seconds"] == round(CODE_TTL_SECONDS)


async def test_a_paired_session_is_told_its_node(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        ack = await session.init(pairing_code=await node.pairing_code())
        assert ack["assigned_node_id"] == node.node_id


async def test_a_paired_sessions_jobs_go_only_to_its_node(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, max_concurrent_jobs=1) as own,
        a_node(cluster.node_url, max_concurrent_jobs=50) as other,
        raw_session(cluster.session_url) as session,
    ):
        await session.init(pairing_code=await own.pairing_code())
        for index in range(10):
            await session.speak(index)
        for index in range(10):
            await session.result(index)
        assert len(own.assigned) == 10
        assert not other.assigned


async def test_a_node_without_public_jobs_serves_only_sessions_paired_with_it(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, accept_public_jobs=False) as private,
        a_session(cluster.session_url) as stranger,
        raw_session(cluster.session_url) as paired,
    ):
        await stranger.speak()
        error = await stranger.expect("error", code="NO_AVAILABLE_NODE")
        assert error["details"]["excluded"]["private"] == 1
        assert not private.assigned
        await paired.init(pairing_code=await private.pairing_code())
        await paired.speak()
        await paired.result()
        assert len(private.assigned) == 1


async def test_a_public_node_that_is_paired_still_serves_everybody(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url) as node,
        raw_session(cluster.session_url) as paired,
        a_session(cluster.session_url) as stranger,
    ):
        await paired.init(pairing_code=await node.pairing_code())
        await stranger.speak()
        await stranger.result()


async def test_a_code_is_single_use(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node:
        code = await node.pairing_code()
        async with (
            raw_session(cluster.session_url) as first,
            raw_session(cluster.session_url) as second,
        ):
            await first.init(pairing_code=code)
            assert (await init_error(second, code))["code"] == "INVALID_PAIRING_CODE"
            await second.init()  # it may go on without


async def test_a_new_code_takes_the_place_of_the_nodes_earlier_one(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        old = await node.pairing_code()
        new = await node.pairing_code()
        while new == old:
            new = await node.pairing_code()
        assert (await init_error(session, old))["code"] == "INVALID_PAIRING_CODE"
        await session.init(pairing_code=new)


async def test_a_code_expires(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        code = await node.pairing_code()
        await asyncio.sleep(CODE_TTL_SECONDS + 0.1)
        assert (await init_error(session, code))["code"] == "INVALID_PAIRING_CODE"


async def test_the_code_of_a_node_that_left_is_no_longer_good(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        async with a_node(cluster.node_url) as node:
            code = await node.pairing_code()
            node_id = node.node_id
        await until(
            lambda: (
                node_id not in cluster.nodes() or cluster.nodes()[node_id].status == Status.OFFLINE
            ),
            "offline",
        )
        assert (await init_error(session, code))["code"] == "INVALID_PAIRING_CODE"


async def test_guessing_is_limited_and_then_even_the_right_code_is_refused(
    cluster: Cluster,
) -> None:
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        code = await node.pairing_code()
        wrong = f"{(int(code) + 1) % 10**6:06}"
        refusals = [(await init_error(session, wrong))["code"] for _ in range(WRONG_MAX + 1)]
        assert refusals[0] == "INVALID_PAIRING_CODE"
        assert refusals[-1] == "RATE_LIMITED"
        assert (await init_error(session, code))["code"] == "RATE_LIMITED"
    await asyncio.sleep(WINDOW_SECONDS)
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        await session.init(pairing_code=await node.pairing_code())


async def test_messages_behind_a_paired_session_init_wait_for_the_ack(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, raw_session(cluster.session_url) as session:
        code = await node.pairing_code()
        await session.send(
            "session_init",
            client_version="1",
            platform="web",
            src_lang="zh",
            tgt_lang="en",
            pairing_code=code,
        )
        await session.chunk(b"early ")
        await session.send_raw(b"bird")
        await session.chunk(None, final=True)
        await session.result()
        assert session.unread[0]["type"] == "session_init_ack"
        assert len(node.assigned) == 1


async def test_a_paired_sessions_jobs_wait_for_a_node_that_comes_back(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold, node_id="node-HOME") as node:
            await session.init(pairing_code=await node.pairing_code())
            await session.speak()
            await node.job()
        async with a_node(cluster.node_url, answer, node_id="node-HOME") as node:
            await session.result()
            assert node.assigned[0]["attempt_id"] == 2


async def test_a_paired_sessions_jobs_fail_where_its_node_is_gone(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url) as other,
        raw_session(cluster.session_url) as session,
    ):
        async with a_node(cluster.node_url, node_id="node-GONE") as node:
            await session.init(pairing_code=await node.pairing_code())
        await until(lambda: "node-GONE" not in cluster.nodes(), "the row is freed")
        await session.speak()
        await session.expect("error", code="NODE_UNAVAILABLE")
        assert not other.assigned


async def test_a_failed_paired_job_does_not_go_elsewhere(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_node(cluster.node_url) as other,
        raw_session(cluster.session_url) as session,
    ):
        await session.init(pairing_code=await node.pairing_code())
        await session.speak()
        await node.fail(await node.job(), "NODE_OVERLOADED")
        await session.expect("error", code="NODE_OVERLOADED")
        assert not other.assigned
