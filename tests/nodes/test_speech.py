"""The speech node's handler with the real tools, and the whole node against a scripted peer."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scheduler.nodes.audio import read_wav, resample, write_wav
from scheduler.nodes.errors import NoToolsError
from scheduler.nodes.recognizer import RecognizerPool
from scheduler.nodes.speech import SpeechHandler, SpeechSettings, run
from scheduler.nodes.synthesizer import Synthesizer
from scheduler.nodes.translator import Translator
from scheduler.protocol.node import JobAssign, NodeAsrPartial
from scheduler.protocol.session import Pipeline
from scheduler.sdk.errors import JobFailed
from scheduler.sdk.jobs import Job
from tests.sdk.scripted_peer import listening_peer, run_async

SAMPLE = Path(__file__).parents[2] / "samples" / "goforward.wav"
TEXT, TRANSLATION = "go forward ten meters", "Va de frente diez metros"
SETTINGS = SpeechSettings(url="ws://127.0.0.1:1/", slots=1)


def sentence() -> bytes:
    return read_wav(SAMPLE.read_bytes())[0]


class Heard(list[str]):
    """Collects partial texts."""

    async def note(self, partial: NodeAsrPartial) -> None:
        self.append(partial.text)


def new_job(heard: Heard | None = None, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "attempt_id": 1,
        "session_id": "sess-1",
        "utterance_index": 0,
        "src_lang": "en",
        "tgt_lang": "es",
        "pipeline": Pipeline(),
        "audio": sentence(),
        "audio_format": "pcm16",
        "sample_rate": 16_000,
        "trace_id": "t-1",
    }
    return Job(JobAssign(**fields | changes), (heard if heard is not None else Heard()).note)


@asynccontextmanager
async def new_handler() -> AsyncGenerator[SpeechHandler]:
    async with RecognizerPool(1) as recognizer:
        yield SpeechHandler(SETTINGS, recognizer, await Translator.find(), await Synthesizer.find())


@run_async
async def test_speech_becomes_text_translation_and_speech() -> None:
    async with new_handler() as handler:
        heard = Heard()
        outcome = await handler(new_job(heard, enable_streaming_asr=True))
        assert (outcome.text_asr, outcome.text_translated) == (TEXT, TRANSLATION)
        assert heard
        assert heard[0] != TEXT
        assert outcome.tts_format == "pcm16"
        assert np.abs(np.frombuffer(outcome.tts_audio, "<i2")).max() > 1_000
        assert outcome.extra is not None
        assert outcome.extra["tts_sample_rate"] == 22_050
        assert set(outcome.extra["stage_ms"]) == {"asr", "nmt", "tts"}

        # The pipeline's stages, another rate and format, no partials unless asked for.
        wav = write_wav(resample(sentence(), 16_000, 44_100), 44_100)
        heard = Heard()
        outcome = await handler(
            new_job(
                heard,
                audio=wav,
                audio_format="wav",
                src_lang="auto",
                pipeline=Pipeline(use_nmt=False, use_tts=False),
            )
        )
        assert (outcome.text_asr, outcome.text_translated) == (TEXT, "")
        assert outcome.tts_audio == b""
        assert heard == []

        # Same language on both sides: nothing to translate; few partials if that is wanted.
        outcome = await handler(
            new_job(
                heard,
                tgt_lang="en-GB",
                enable_streaming_asr=True,
                partial_update_interval_ms=3_600_000,
            )
        )
        assert outcome.text_translated == TEXT
        assert len(heard) == 1

        silent = await handler(new_job(audio=b""))
        assert (silent.text_asr, silent.text_translated, silent.tts_audio) == ("", "", b"")


@pytest.mark.parametrize(
    ("changes", "code", "service_id"),
    [
        ({"src_lang": "zh"}, "MODEL_NOT_AVAILABLE", "node-inference"),
        ({"tgt_lang": "zh"}, "MODEL_NOT_AVAILABLE", "nmt-m2m100"),
        ({"audio_format": "opus"}, "UNSUPPORTED_FEATURE", None),
        ({"audio": b"123"}, "UNSUPPORTED_FEATURE", None),
        ({"pipeline": Pipeline(use_asr=False)}, "UNSUPPORTED_FEATURE", None),
    ],
)
def test_what_it_can_not_do_is_refused_before_any_work(
    changes: dict[str, Any], code: str, service_id: str | None
) -> None:
    async def main() -> None:
        # Not entered: it has no workers, and would wait for one forever.
        pool = RecognizerPool(1)
        modes, languages = frozenset({"eng-spa"}), frozenset({"en", "es", "zh"})
        handler = SpeechHandler(SETTINGS, pool, Translator(modes), Synthesizer(languages))
        async with asyncio.timeout(10):
            with pytest.raises(JobFailed) as failure:
                await handler(new_job(**changes))
        assert failure.value.code == code
        assert (failure.value.details or {}).get("service_id") == service_id

    asyncio.run(main())


def test_only_what_is_installed_and_wanted_is_offered() -> None:
    async def main() -> None:
        nothing = SpeechHandler(SETTINGS, None, Translator(frozenset()), Synthesizer(frozenset()))
        assert nothing.services() == []
        settings = SpeechSettings(url="", nmt_service_id="my-nmt", tts_service_id="")
        handler = SpeechHandler(
            settings, None, Translator(frozenset({"eng-spa"})), Synthesizer(frozenset({"es"}))
        )
        assert handler.services() == ["my-nmt"]

    asyncio.run(main())


def test_without_any_tool_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    settings = SpeechSettings(url="ws://127.0.0.1:1/", asr_service_id="")
    with pytest.raises(NoToolsError, match="espeak-ng"):
        asyncio.run(run(settings))


@run_async
async def test_the_node_serves_jobs_and_stops_cancelled_ones() -> None:
    async with listening_peer() as peer:
        settings = SpeechSettings(url=peer.url, slots=1, name="n")
        running = asyncio.create_task(run(settings))
        link = await peer.accept()
        register = await link.welcome_node()
        assert [service["service_id"] for service in register["installed_services"]] == [
            "node-inference",
            "nmt-m2m100",
            "piper-tts",
        ]
        audio = base64.b64encode(sentence()).decode()
        await link.assign("job-1", audio=audio, enable_streaming_asr=True)
        await link.receive("asr_partial")
        await link.send(type="job_cancel", job_id="job-1")
        await link.assign("job-2", audio=audio)
        result = await link.result_of("job-2")
        assert result["text_translated"] == TRANSLATION
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
