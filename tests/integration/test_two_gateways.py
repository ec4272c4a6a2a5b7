"""Sessions at one gateway, nodes at another: what each of them sees is the same."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    a_node,
    a_session,
    answer,
    echo,
    encoded,
    failing,
    hold,
    raw_node,
    registration,
    until,
)
from tests.integration.placed import accepted_by, node_at, session_at

ARENA_BYTES = 12 << 20

SETTINGS = {
    "gateways": 2,
    "limits.arena_bytes": ARENA_BYTES,
    "scheduler.job_timeout_seconds": 10,
    # Long messages count by their length, and here they come as fast as they can be read.
    "limits.messages_per_second_max": 100_000,
}

EVERY_WAY = pytest.mark.parametrize(
    ("home", "away"),
    [(0, 0), (0, 1), (1, 0), (1, 1)],
    ids=str,
)
ACROSS = pytest.mark.parametrize(("home", "away"), [(0, 1), (1, 0)], ids=str)
"""Gateway of the session, gateway of the node."""


@EVERY_WAY
async def test_a_job_goes_to_the_node_and_its_result_back(
    cluster: Cluster, home: int, away: int
) -> None:
    async with (
        node_at(cluster, away, hold) as node,
        session_at(cluster, home) as session,
    ):
        await session.speak(3, b"hello", trace_id="trace-3")
        job = await node.job()
        assert accepted_by(cluster, job) == home
        assert (job["audio"], job["attempt_id"], job["trace_id"]) == (
            encoded(b"hello"),
            1,
            "trace-3",
        )
        await session.event("DISPATCHED", 3)
        await node.partial(job, "hel")
        assert (await session.expect("asr_partial"))["text"] == "hel"
        await node.complete(job, tts_audio=encoded(b"spoken"), extra={"emotion": "glad"})
        result = await session.result(3)
        assert result["job_id"] == job["job_id"]
        assert result["tts_audio"] == encoded(b"spoken")
        assert result["extra"] == {"emotion": "glad"}
        assert [m["event"] for m in session.take_unread()] == ["ASR_FINAL", "NMT_DONE"]


@EVERY_WAY
async def test_megabytes_of_audio_go_both_ways_unharmed(
    cluster: Cluster, home: int, away: int
) -> None:
    random_bytes = random.Random(home * 2 + away).randbytes
    spoken = [random_bytes(size) for size in (1, 3_000_000, 100_000, 1_500_000)]
    answers = [random_bytes(size) for size in (3_500_000, 2, 1_000_000, 200_000)]
    async with (
        node_at(cluster, away, hold) as node,
        session_at(cluster, home) as session,
    ):
        for index, audio in enumerate(spoken):
            await session.speak(index, audio)
        for index, audio in enumerate(spoken):
            job = await node.job(index)
            assert job["audio"] == encoded(audio)
            await node.complete(job, tts_audio=encoded(answers[index]))
        for index, audio in enumerate(answers):
            assert (await session.result(index))["tts_audio"] == encoded(audio)


@ACROSS
async def test_payload_memory_is_free_again_after_many_times_its_size(
    cluster: Cluster, home: int, away: int
) -> None:
    audio = random.Random(1).randbytes(1_200_000)
    rounds = 2 * ARENA_BYTES // len(audio)
    async with node_at(cluster, away, echo), session_at(cluster, home) as session:
        for index in range(rounds):
            await session.speak(index, audio)
            assert (await session.result(index))["tts_audio"] == encoded(audio)
        await until(lambda: cluster.total("arena_used_bytes") == 0, "all is freed")
    assert cluster.total("payloads_lost_total") == 0


async def test_full_payload_memory_is_a_refusal_that_says_when_to_come_back(
    cluster: Cluster,
) -> None:
    audio = bytes(3_000_000)  # 4 MB as text
    async with (
        node_at(cluster, 1, hold, max_concurrent_jobs=20) as node,
        session_at(cluster, 0) as session,
    ):
        accepted = cluster.totals().accepted
        for index in range(8):
            await session.speak(index, audio)
        error = await session.expect("error", code="SERVER_BUSY")
        assert error["details"]["retry_after_ms"] > 0
        await session.fence()
        taken = cluster.totals().accepted - accepted
        assert 0 < taken < 8
        for index in range(taken):
            await node.complete(await node.job(index))
            await session.result(index)
        await session.speak(taken, audio)  # there is room again
        await node.complete(await node.job(taken))
        await session.result(taken)


@ACROSS
async def test_a_failure_comes_back_with_the_nodes_own_words(
    cluster: Cluster, home: int, away: int
) -> None:
    async with (
        node_at(cluster, away, failing("TTS_TIMEOUT", message="slow", details={"ms": 9})),
        session_at(cluster, home) as session,
    ):
        await session.speak()
        error = await session.expect("error", code="TTS_TIMEOUT", message="slow")
        assert error["details"]["node_details"] == {"ms": 9}


@ACROSS
async def test_the_end_of_a_session_cancels_its_job_on_the_other_gateway(
    cluster: Cluster, home: int, away: int
) -> None:
    async with node_at(cluster, away, hold) as node:
        async with session_at(cluster, home) as session:
            await session.speak()
            job = await node.job()
        await node.expect("job_cancel", job_id=job["job_id"])
        await node.complete(job)  # nobody wants it any more
        await node.fence()
        await until(lambda: cluster.nodes()[node.node_id].in_flight == 0, "the slot is free")


@ACROSS
async def test_a_lost_nodes_job_fails_over_to_the_other_gateway(
    cluster: Cluster, home: int, away: int
) -> None:
    audio = bytes(500_000)
    async with node_at(cluster, home, hold) as lost, session_at(cluster, home) as session:
        await session.speak(0, audio)
        await lost.job()
        async with node_at(cluster, away, hold) as spare:
            await lost.abort()
            job = await spare.job()
            assert (job["attempt_id"], job["audio"]) == (2, encoded(audio))
            await spare.complete(job)
            await session.result()


@ACROSS
async def test_a_session_pairs_with_a_node_at_the_other_gateway(
    cluster: Cluster, home: int, away: int
) -> None:
    async with (
        node_at(cluster, away, accept_public_jobs=False) as node,
        node_at(cluster, home) as nearer,
    ):
        code = await node.pairing_code()
        # The first socket that takes the code may be at any gateway: ask for one at `home`.
        while True:
            before = cluster.per_gateway("sessions_opened_total")
            async with a_session(cluster.session_url, pairing_code=code) as session:
                after = cluster.per_gateway("sessions_opened_total")
                if after[home] > before[home]:
                    await session.speak()
                    await session.result()
                    break
            code = await node.pairing_code()
        assert len(node.assigned) == 1
        assert not nearer.assigned


async def test_the_id_of_a_live_node_is_a_conflict_at_the_other_gateway_too(
    cluster: Cluster,
) -> None:
    async with node_at(cluster, 0, node_id="node-TWIN") as node:
        tried: set[int] = set()
        while tried != {0, 1}:
            async with raw_node(cluster.node_url) as twin:
                await twin.send("node_register", **registration(node_id="node-TWIN"))
                await twin.expect("error", code="NODE_ID_CONFLICT")
                tried.add(0 if cluster.per_gateway("nodes") == [2, 0] else 1)
            await until(lambda: cluster.per_gateway("nodes") == [1, 0], "it is gone")
        assert cluster.nodes()["node-TWIN"].status == Status.READY
        await node.fence()


async def test_a_node_may_come_back_at_another_gateway(cluster: Cluster) -> None:
    async with node_at(cluster, 0, node_id="node-MOVES"):
        ref = cluster.nodes()["node-MOVES"].ref
    await until(lambda: cluster.nodes()["node-MOVES"].status == Status.OFFLINE, "offline")
    async with AsyncExitStack() as stack:
        for _ in range(200):
            await stack.aclose()
            await until(lambda: cluster.nodes()["node-MOVES"].status == Status.OFFLINE, "offline")
            await stack.enter_async_context(a_node(cluster.node_url, node_id="node-MOVES"))
            if cluster.nodes()["node-MOVES"].gateway == 1:
                break
        assert cluster.nodes()["node-MOVES"].gateway == 1
        assert cluster.nodes()["node-MOVES"].ref == ref
        session = await stack.enter_async_context(session_at(cluster, 0))
        await session.speak()
        await session.result()


async def test_many_sessions_and_nodes_at_both_gateways_get_what_is_theirs(
    cluster: Cluster,
) -> None:
    """Each answer is the session's own audio: a mix-up of payloads would show."""
    sessions_total, rounds = 40, 5
    draw = random.Random(7)
    async with AsyncExitStack() as stack:
        for gateway in (0, 1):
            for _ in range(3):
                await stack.enter_async_context(
                    node_at(cluster, gateway, echo, max_concurrent_jobs=8)
                )
        sessions = [
            await stack.enter_async_context(session_at(cluster, number % 2))
            for number in range(sessions_total)
        ]

        async def converse(number: int) -> None:
            session = sessions[number]
            spoken = [draw.randbytes(draw.randrange(1, 60_000)) for _ in range(rounds)]
            for index, audio in enumerate(spoken):
                await session.speak(index, audio, trace_id=f"{number}-{index}")
            for index, audio in enumerate(spoken):
                result = await session.result(index)
                assert result["tts_audio"] == encoded(audio)
                assert result["text_asr"] == result["trace_id"] == f"{number}-{index}"

        before = cluster.totals().completed
        await asyncio.gather(*(converse(number) for number in range(sessions_total)))
        assert cluster.totals().completed == before + sessions_total * rounds
    assert cluster.total("payloads_lost_total") == 0


async def test_both_gateways_share_a_nodes_slots(cluster: Cluster) -> None:
    async with (
        node_at(cluster, 0, hold, max_concurrent_jobs=2) as node,
        session_at(cluster, 0) as near,
        session_at(cluster, 1) as far,
    ):
        for index in range(2):
            await near.speak(index)
            await far.speak(index)
        jobs = [await node.job(), await node.job()]
        await near.fence()
        await far.fence()
        await node.fence()
        assert len(node.assigned) == 2
        node.behaviour = answer
        for job in jobs:
            await node.complete(job)
        for session in (near, far):
            for index in range(2):
                await session.result(index)
