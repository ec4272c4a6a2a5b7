"""The SDK streams speech over a line that is cut again and again, to two gateways."""

import asyncio
import base64
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from scheduler.protocol.session import ErrorMessage, TranslationResult
from scheduler.sdk.client import SessionClient
from scheduler.sdk.errors import ConnectionLost
from tests.integration.cluster import Cluster
from tests.integration.cutting import a_lossy_line
from tests.integration.peers import FakeNode, echo, until
from tests.integration.placed import node_at

SETTINGS = {
    "scheduler.web_task_segmentation.pause_ms": 20_000,
    "limits.messages_per_second_max": 100_000,
}

CUTS = 20
UNFINISHED_MAX = 8
SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


def heard_by(node: FakeNode) -> list[bytes]:
    """Return the audio of each job in the order of the utterances, none of which came twice."""
    jobs = sorted(node.assigned, key=lambda job: job["utterance_index"])
    assert [job["utterance_index"] for job in jobs] == list(range(len(jobs)))
    assert {job["attempt_id"] for job in jobs} == {1}
    return [base64.b64decode(job["audio"]) for job in jobs]


async def ends_of(session: SessionClient, ends: list[int | str]) -> None:
    """Note the terminal replies as they come."""
    with suppress(ConnectionLost):
        async for event in session.events():
            if isinstance(event, TranslationResult):
                ends.append(event.utterance_index)
            elif isinstance(event, ErrorMessage):
                ends.append(f"{event.code}: {event.message}")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[SessionClient]:
    """A session; the line may be cut before there is one."""
    async with AsyncExitStack() as stack:
        session: SessionClient | None = None
        while session is None:
            with suppress(ConnectionLost):
                session = await stack.enter_async_context(
                    SessionClient.connect(url, src_lang="en", tgt_lang="es", resumable=True)
                )
        yield session


@SEEDS
async def test_streamed_utterances_survive_cuts_whole_once_and_in_order(
    cluster: Cluster, seed: int
) -> None:
    rng = random.Random(seed)
    said: list[bytes] = []
    ends: list[int | str] = []
    address = cluster.scheduler.endpoints.public
    async with node_at(cluster, seed % 2, echo) as node, a_lossy_line(address, rng, CUTS) as line:
        url = cluster.session_url.replace(address, f"127.0.0.1:{line.port}")
        async with opened(url) as session:
            reading = asyncio.create_task(ends_of(session, ends))
            while line.cuts < CUTS or len(said) < 10:
                index = len(said)
                chunks = [rng.randbytes(rng.randint(1, 2_000)) for _ in range(rng.randint(1, 8))]
                for chunk in chunks:
                    await session.send_audio(chunk)
                    if rng.random() < 0.3:
                        await asyncio.sleep(0)
                assert await session.end_utterance() == index
                said.append(b"".join(chunks))
                if index >= UNFINISHED_MAX:
                    await session.result_for(index - UNFINISHED_MAX, 30)
            for index in range(max(0, len(said) - UNFINISHED_MAX), len(said)):
                assert (await session.result_for(index, 30)).tts_audio == said[index]
            assert session.resumed > CUTS // 2
            await session.close()
            await reading
        assert heard_by(node) == said
        assert ends == list(range(len(said)))
        assert line.half_open > 0


@pytest.mark.parametrize(
    "own_cluster", [{"scheduler.web_task_segmentation.pause_ms": 30}], indirect=True
)
async def test_where_pauses_cut_the_speech_nothing_of_it_is_lost_or_counts_twice(
    own_cluster: Cluster,
) -> None:
    """Where it is cut depends on when the line was; all that was said is there in order."""
    cluster, rng = own_cluster, random.Random(4)
    said = b""
    ends: list[int | str] = []
    address = cluster.scheduler.endpoints.public
    async with node_at(cluster, 0, echo) as node, a_lossy_line(address, rng, CUTS) as line:
        url = cluster.session_url.replace(address, f"127.0.0.1:{line.port}")
        async with opened(url) as session:
            reading = asyncio.create_task(ends_of(session, ends))
            while line.cuts < CUTS:
                chunk = rng.randbytes(rng.randint(1, 2_000))
                await session.send_audio(chunk)
                said += chunk
                if rng.random() < 0.1:
                    await session.end_utterance()
                elif rng.random() < 0.1:
                    await session.pause()
            await session.end_utterance()
            await until(lambda: len(b"".join(heard_by(node))) >= len(said), "all was heard")
            await until(lambda: len(ends) == len(node.assigned), "all has ended")
            assert session.resumed > CUTS // 2
            await session.close()
            await reading
        assert b"".join(heard_by(node)) == said
        assert ends == list(range(len(ends)))
    assert cluster.total("utterances_cut_by_pause_total") > 0
    assert cluster.total("utterances_cut_by_final_total") > 0
