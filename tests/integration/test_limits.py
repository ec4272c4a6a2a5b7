"""Every bound is a typed refusal that says what to do, and the peer may go on."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    a_node,
    a_session,
    answer,
    encoded,
    hold,
    raw_node,
    raw_session,
    registration,
    until,
)

JOBS_PER_SESSION, SESSIONS, CONNECTIONS, QUEUE, NODES = 4, 6, 12, 3, 8
MESSAGE_BYTES, UTTERANCE_BYTES, MESSAGES_PER_SECOND = 100_000, 20_000, 100
AUDIO_PER_SESSION = 80_000

# One gateway, so that its bounds are the whole scheduler's.
SETTINGS = {
    "gateways": 1,
    "limits.jobs_per_session_max": JOBS_PER_SESSION,
    "limits.sessions_per_gateway_max": SESSIONS,
    "limits.connections_per_gateway_max": CONNECTIONS,
    "limits.pending_per_class_max": QUEUE,
    "limits.nodes_max": NODES,
    "limits.message_bytes_max": MESSAGE_BYTES,
    "limits.audio_bytes_per_session_max": AUDIO_PER_SESSION,
    "limits.utterance_bytes_max": UTTERANCE_BYTES,
    "limits.messages_per_second_max": MESSAGES_PER_SECOND,
    "limits.first_message_timeout_seconds": 1,
    "scheduler.node_health.forget_after_seconds": 0.2,
    "scheduler.job_timeout.pending_timeout_seconds": 5,
}


async def test_too_many_unfinished_jobs_of_a_session_are_refused(cluster: Cluster) -> None:
    refused = cluster.total("jobs_refused_total")
    async with (
        a_node(cluster.node_url, hold, max_concurrent_jobs=20) as node,
        a_session(cluster.session_url) as session,
        a_session(cluster.session_url) as other,
    ):
        for index in range(JOBS_PER_SESSION + 1):
            await session.speak(index)
        error = await session.expect("error", code="SERVER_BUSY")
        assert error["details"]["retry_after_ms"] > 0
        await session.fence()
        assert cluster.total("jobs_refused_total") == refused + 1
        await other.speak(50)  # others have their own bound
        await node.complete(await node.job(50))
        await other.result(50)
        await node.complete(await node.job(0))
        await session.result(0)
        await session.speak(JOBS_PER_SESSION)  # there is room again
        await node.job(JOBS_PER_SESSION)


async def test_too_much_audio_of_a_session_is_refused_while_others_are_served(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, hold, max_concurrent_jobs=20) as node,
        a_session(cluster.session_url) as session,
        a_session(cluster.session_url) as other,
    ):
        long = bytes(AUDIO_PER_SESSION // 4)
        for index in range(3):
            await session.speak(index, long)
        assert "audio" in (await session.expect("error", code="SERVER_BUSY"))["message"]
        await other.speak(0, long)
        await node.complete(await node.job(0))
        await node.complete(await node.job(1))
        await session.result(1)


async def test_results_held_for_order_count_as_unfinished(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, max_concurrent_jobs=20) as node,
        a_session(cluster.session_url) as session,
    ):
        completed = cluster.totals().completed
        for index in range(JOBS_PER_SESSION):
            await session.speak(index)
        for index in range(1, JOBS_PER_SESSION):
            await node.complete(await node.job(index))
        await until(
            lambda: cluster.totals().completed == completed + JOBS_PER_SESSION - 1, "completed"
        )
        await session.speak(JOBS_PER_SESSION)
        await session.expect("error", code="SERVER_BUSY")
        await node.complete(await node.job(0))
        for index in range(JOBS_PER_SESSION):
            await session.result(index)


async def test_a_full_queue_refuses_and_says_when_to_come_back(cluster: Cluster) -> None:
    refused = cluster.dispatcher("refused_queue_full_total")
    async with a_session(cluster.session_url) as session:
        for index in range(QUEUE + 1):
            await session.speak(index, request_id=f"request-{index}")
        event = await session.event("ERROR", QUEUE)
        assert event["error_code"] == "SERVER_BUSY"
        error = await session.expect("error", code="SERVER_BUSY")
        assert error["details"]["retry_after_ms"] > 0
        assert error["details"]["utterance_index"] == QUEUE
        await until(
            lambda: cluster.dispatcher("refused_queue_full_total") == refused + 1, "it is counted"
        )
        async with a_node(cluster.node_url, answer):
            for index in range(QUEUE):
                await session.result(index)
            # The request that was asked to come back is no repeat when it does.
            await session.speak(QUEUE, request_id=f"request-{QUEUE}")
            await session.result(QUEUE)


async def test_too_many_sessions_are_refused(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SESSIONS):
            await stack.enter_async_context(a_session(cluster.session_url))
        one_more = await stack.enter_async_context(raw_session(cluster.session_url))
        await one_more.send(
            "session_init", client_version="1", platform="web", src_lang="zh", tgt_lang="en"
        )
        error = await one_more.expect("error", code="SERVER_BUSY")
        assert error["details"]["retry_after_ms"] > 0
    async with a_session(cluster.session_url) as session:
        await session.fence()


async def test_too_many_connections_get_503(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            await stack.enter_async_context(raw_session(cluster.session_url))
        with pytest.raises(InvalidStatus) as caught:
            async with raw_session(cluster.session_url):
                pass
        assert caught.value.response.status_code == 503
        assert int(caught.value.response.headers["Retry-After"]) > 0


async def test_a_full_node_table_refuses_nodes_until_rows_are_free(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        await until(lambda: not cluster.nodes(), "rows of earlier nodes are free")
        for _ in range(NODES):
            await stack.enter_async_context(a_node(cluster.node_url))
        one_more = await stack.enter_async_context(raw_node(cluster.node_url))
        await one_more.send("node_register", **registration())
        await one_more.expect("error", code="SERVER_BUSY")
        assert len(cluster.nodes()) == NODES
    await until(lambda: not cluster.nodes(), "offline rows are forgotten")
    async with a_node(cluster.node_url) as node:
        assert cluster.nodes()[node.node_id].status == Status.READY


async def test_a_message_too_large_is_told_and_closes_with_1009(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        await session.speak(audio=bytes(MESSAGE_BYTES))
        await session.expect("error", code="MESSAGE_TOO_LARGE")
        assert await session.closed() == 1009


async def test_streamed_speech_without_end_is_dropped_whole_and_the_session_goes_on(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        for _ in range(3):
            await session.chunk(bytes(UTTERANCE_BYTES // 3 + 1))
        error = await session.expect("error", code="MESSAGE_TOO_LARGE")
        assert error["details"] == {"utterance_bytes_max": UTTERANCE_BYTES}
        await session.chunk(b"the rest of it", final=True)
        await session.chunk(b"short", final=True)
        assert (await node.job(0))["audio"] == encoded(b"short")


async def test_too_many_messages_are_refused_and_the_session_goes_on(cluster: Cluster) -> None:
    limited = cluster.total("messages_rate_limited_total")
    sent = 4 * MESSAGES_PER_SECOND  # the bucket holds two seconds' worth
    async with a_session(cluster.session_url) as session:
        beat = {"session_id": session.session_id, "timestamp": 1}

        def answered() -> int:
            return sum(m["type"] == "server_heartbeat" for m in session.unread)

        def refused() -> int:
            return cluster.total("messages_rate_limited_total") - limited

        for _ in range(sent):
            await session.send("client_heartbeat", **beat)
        await until(lambda: answered() + refused() == sent, "each is answered or refused")
        assert refused() > 0
        told = [m for m in session.take_unread() if m["type"] == "error"]
        assert {m["code"] for m in told} == {"RATE_LIMITED"}
        assert len(told) < refused()  # at most once a second
        while not answered():
            await session.send("client_heartbeat", **beat)
            await asyncio.sleep(0.05)


async def test_who_says_nothing_is_closed(cluster: Cluster) -> None:
    async with (
        raw_session(cluster.session_url) as session,
        raw_node(cluster.node_url) as node,
        a_session(cluster.session_url) as speaking,
    ):
        assert await session.closed() == 1008
        assert await node.closed() == 1008
        await speaking.fence()


async def test_other_paths_and_methods_are_refused(cluster: Cluster) -> None:
    assert cluster.get(f"{cluster.scheduler.public_url}/health") == (200, b"OK")
    assert cluster.get(f"{cluster.scheduler.public_url}/api/v1/stats")[0] == 404  # off by default
    assert cluster.get(f"{cluster.scheduler.public_url}/ws/other")[0] == 404
    with pytest.raises(InvalidStatus) as caught:
        async with raw_session(cluster.session_url.replace("/ws/session", "/ws")):
            pass
    assert caught.value.response.status_code == 404
