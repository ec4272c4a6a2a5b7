import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler.nodes.sim import SimNode, SimSettings, run
from scheduler.protocol.node import JobAssign, NodeAsrPartial
from scheduler.protocol.session import Pipeline
from scheduler.sdk.errors import JobFailed
from scheduler.sdk.jobs import Job, JobOutcome
from tests.sdk.scripted_peer import listening_peer, run_async


async def unheard(_: NodeAsrPartial) -> None:
    pass


def new_job(
    index: int = 0,
    pipeline: Pipeline | None = None,
    notify: Callable[[NodeAsrPartial], Awaitable[None]] = unheard,
) -> Job:
    assign = JobAssign(
        job_id=f"job-{index}",
        attempt_id=1,
        session_id="sess-1",
        utterance_index=index,
        src_lang="en",
        tgt_lang="es",
        pipeline=pipeline or Pipeline(),
        audio=b"",
        audio_format="pcm16",
        sample_rate=16_000,
        trace_id="t-1",
    )
    return Job(assign, notify)


def new_settings(**changes: Any) -> SimSettings:
    return SimSettings(
        **{"url": "ws://127.0.0.1:1/", "services": ("a", "b"), "delay_ms": (0, 0)} | changes
    )


def test_each_node_shows_the_token() -> None:
    token = "a token"  # noqa: S105
    assert SimNode(new_settings(token=token), 0).client._register.token == token


async def outcomes(node: SimNode, jobs: int) -> list[str]:
    async def one(index: int) -> str:
        try:
            return (await node.handle(new_job(index))).text_translated
        except JobFailed as failure:
            return failure.code

    return await asyncio.gather(*(one(index) for index in range(jobs)))


@run_async
async def test_a_seed_and_a_number_decide_what_a_node_does() -> None:
    settings = new_settings(fail_rate=0.5, fail_code="NMT_TIMEOUT", seed=7)
    first = await outcomes(SimNode(settings, 0), 32)
    assert first == await outcomes(SimNode(settings, 0), 32)
    assert first != await outcomes(SimNode(settings, 1), 32)
    assert first != await outcomes(SimNode(new_settings(fail_rate=0.5, seed=8), 0), 32)
    assert set(first) > {"NMT_TIMEOUT"}


@run_async
async def test_a_result_has_what_the_pipeline_asks_for() -> None:
    node = SimNode(new_settings(tts_bytes=4), 0)
    whole = await node.handle(new_job(3))
    assert whole == JobOutcome("utterance 3", "[es] utterance 3", bytes(4))
    assert await node.handle(new_job(3, Pipeline(use_tts=False, use_asr=False))) == JobOutcome(
        "", "[es] utterance 3"
    )


@run_async
async def test_partials_grow_to_the_whole_text() -> None:
    heard: list[str] = []

    async def notify(partial: NodeAsrPartial) -> None:
        heard.append(partial.text)

    await SimNode(new_settings(partials=3), 0).handle(new_job(notify=notify))
    assert heard == ["utt", "utteran", "utterance 0"]


@run_async
async def test_a_fail_rate_of_one_fails_all() -> None:
    node = SimNode(new_settings(fail_rate=1.0, fail_code="TTS_TIMEOUT"), 0)
    with pytest.raises(JobFailed, match="TTS_TIMEOUT"):
        await node.handle(new_job())


@run_async
async def test_all_nodes_register_under_their_names_and_work() -> None:
    async with listening_peer() as peer:
        simulation = asyncio.create_task(run(new_settings(url=peer.url, count=3, capacity=5)))
        names = set()
        for number in range(3):
            link = await peer.accept()
            register = await link.welcome_node(f"node-{number}")
            names.add(register["name"])
            assert register["max_concurrent_jobs"] == 5
            assert [s["service_id"] for s in register["installed_services"]] == ["a", "b"]
            await link.assign()
            assert (await link.receive("job_result"))["text_asr"] == "utterance 0"
        assert names == {"sim-0", "sim-1", "sim-2"}
        simulation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await simulation


@run_async
async def test_a_flapping_node_comes_back_with_its_id() -> None:
    async with listening_peer() as peer:
        simulation = asyncio.create_task(run(new_settings(url=peer.url, churn_seconds=0.01)))
        await (await peer.accept()).welcome_node("node-x")
        assert (await (await peer.accept()).welcome_node())["node_id"] == "node-x"
        simulation.cancel()
        await asyncio.gather(simulation, return_exceptions=True)
