import asyncio
import base64
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from scheduler.sdk.connection import cancel_and_wait
from scheduler.stress.checker import Findings
from scheduler.stress.messages import CUT_OFF, TALKER
from scheduler.stress.scenario import Kind, Talkers
from scheduler.stress.speaker import Shared, Speaker, Talker, sleep_until
from tests.sdk.scripted_peer import Link, Peer, listening_peer, run_async, until

KIND = Kind(name="a", src="de", tgt="fr", stages=("asr", "nmt"), features=("emotion_detection",))


def shared_by(url: str) -> Shared:
    return Shared(url, 3, Findings(), Counter(), "secret", itertools.count().__next__)


async def opened(peer: Peer, speaker: Speaker) -> tuple[Link, dict[str, object]]:
    opening = asyncio.create_task(speaker.open())
    link = await peer.accept()
    init = await link.welcome_session()
    await opening
    return link, init


@asynccontextmanager
async def serving(speaker: Speaker) -> AsyncGenerator[None]:
    task = asyncio.create_task(speaker.serve())
    try:
        yield
    finally:
        await cancel_and_wait(task)
        await speaker.close()


@run_async
async def test_it_speaks_as_its_kind_does() -> None:
    async with listening_peer() as peer:
        speaker = Speaker(shared_by(peer.url), 1, KIND, 100)
        link, init = await opened(peer, speaker)
        assert (init["src_lang"], init["tgt_lang"], init["token"]) == ("de", "fr", "secret")
        assert init["pipeline"] == {"use_asr": True, "use_nmt": True, "use_tts": False}
        async with serving(speaker):
            await speaker.say(time.monotonic_ns())
            said = await link.receive("utterance")
            assert said["features"] == {"emotion_detection": True}
            assert base64.b64decode(said["audio"]) == bytes(100)


@run_async
async def test_replies_settle_what_was_said() -> None:
    async with listening_peer() as peer:
        shared = shared_by(peer.url)
        speaker = Speaker(shared, 1, KIND, 2)
        link, _ = await opened(peer, speaker)
        async with serving(speaker):
            for _ in range(3):
                await speaker.say(5)
            await link.result(0)
            details = {"utterance_index": 1, "job_id": "job-1"}
            await link.send(type="error", code="JOB_TIMEOUT", message="late", details=details)
            busy = {"utterance_index": 2}
            await link.send(type="error", code="SERVER_BUSY", message="full", details=busy)
            await link.send(type="error", code="RATE_LIMITED", message="slower")
            await until(lambda: bool(shared.troubles))
        calls = shared.findings.calls
        assert [(call.index, call.code, call.accepted) for call in calls] == [
            (0, "", True),
            (1, "JOB_TIMEOUT", True),
            (2, "SERVER_BUSY", False),
        ]
        assert {(call.driver, call.kind, call.due_ns) for call in calls} == {(3, 1, 5)}
        assert shared.troubles == {"RATE_LIMITED: slower": 1}
        assert shared.findings.violations == []


@run_async
async def test_it_comes_back_when_it_is_cut_off() -> None:
    async with listening_peer() as peer:
        shared = shared_by(peer.url)
        speaker = Speaker(shared, 0, KIND, 2)
        link, _ = await opened(peer, speaker)
        async with serving(speaker):
            await speaker.say(5)
            link.abort()
            again = await peer.accept()
            assert not speaker.is_open
            await speaker.say(6)  # nobody is there to hear it
            await again.welcome_session()
            await until(lambda: speaker.is_open)
            await speaker.say(7)
            await again.result(0)
            await until(lambda: len(shared.findings.calls) == 3)
        assert [(c.due_ns, c.code) for c in shared.findings.calls] == [
            (5, CUT_OFF),
            (6, CUT_OFF),
            (7, ""),
        ]
        assert [call.session for call in shared.findings.calls] == [0, 0, 1]
        assert shared.findings.violations == []


@run_async
async def test_a_talker_streams_speech_and_ends_it() -> None:
    talkers = Talkers(sessions=1, chunk_ms=10, speech_seconds=0.05, silence_seconds=0.01)
    async with listening_peer() as peer:
        shared = shared_by(peer.url)
        talker = Talker(shared, KIND, talkers, "x")
        link, _ = await opened(peer, talker)
        async with serving(talker):
            begin_ns = time.monotonic_ns()
            # One utterance fits, whatever is drawn for the silence before it.
            await talker.talk(begin_ns, begin_ns + 111_000_000)
            chunks: list[dict[str, Any]] = []
            while not chunks or not chunks[-1]["is_final"]:
                chunks.append(json.loads(await link.raw()))
            await link.result(0)
            await until(lambda: bool(shared.findings.calls))
        assert len(chunks) == 5
        assert {len(base64.b64decode(chunk["payload"])) for chunk in chunks} == {320}
        call = shared.findings.calls[0]
        assert (call.kind, call.index, call.code) == (TALKER, 0, "")
        assert begin_ns + 50_000_000 <= call.due_ns <= begin_ns + 110_000_000


@run_async
async def test_a_moment_that_is_past_is_not_waited_for() -> None:
    await sleep_until(0)
    moment_ns = time.monotonic_ns() + 5_000_000
    await sleep_until(moment_ns)
    assert time.monotonic_ns() >= moment_ns
