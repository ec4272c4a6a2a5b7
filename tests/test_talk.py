import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from websockets.exceptions import ConnectionClosed

from scheduler.nodes.audio import read_wav, write_wav
from scheduler.nodes.errors import AudioError
from scheduler.sdk.errors import Refused, SessionError
from scheduler.talk import (
    Answer,
    Recording,
    TalkError,
    TalkSettings,
    explain,
    read_recording,
    save_speech,
    show,
    talk,
)
from tests.sdk.scripted_peer import Link, listening_peer, run_async

SAMPLE = Path(__file__).parents[1] / "samples" / "goforward.wav"


@asynccontextmanager
async def answering(answer: Callable[[Link], Awaitable[None]]) -> AsyncGenerator[TalkSettings]:
    """A scheduler that takes one utterance and answers as told."""

    async def serve() -> None:
        link = await peer.accept()
        init = await link.welcome_session()
        assert init["enable_streaming_asr"] is True
        await answer(link)
        try:
            await link.close_session()
        except ConnectionClosed:
            return

    async with listening_peer() as peer:
        serving = asyncio.create_task(serve())
        yield TalkSettings(url=peer.url, src_lang="en", tgt_lang="es", timeout_seconds=10)
        await serving


def new_answer(**changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "session_id": "sess-1",
        "job_id": "job-0",
        "transcript": "[hello]",
        "translation": "hola",
        "partials": [],
        "tts_format": "pcm16",
        "tts_sample_rate": 22_050,
        "tts_bytes": 4,
        "speech_ms": 1_000,
        "sent_ms": 1.0,
        "dispatched_ms": 2.0,
        "first_partial_ms": None,
        "result_ms": 345.6,
        "stage_ms": {"asr": 300.0},
    }
    return Answer(**fields | changes)


@run_async
async def test_all_of_a_recording_is_sent_and_the_answer_comes_with_its_partials() -> None:
    recording = read_recording(SAMPLE)
    said = b""

    async def answer(link: Link) -> None:
        nonlocal said
        said = await link.take_speech()
        await link.event("DISPATCHED", 0)
        await link.partial(0, "he")
        await link.partial(0, "hell")
        await link.result(0, extra={"tts_sample_rate": 22_050, "stage_ms": {"asr": 12.5}})

    shown: list[str] = []
    async with answering(answer) as settings:
        got, speech = await talk(recording, settings, shown.append)
    assert said == recording.samples
    assert (got.transcript, got.translation) == ("hello", "hola")
    assert got.partials == shown == ["he", "hell"]
    assert speech == b"\x00\x01\x02"
    assert (got.tts_bytes, got.tts_sample_rate, got.stage_ms) == (3, 22_050, {"asr": 12.5})
    assert got.speech_ms == 2_786
    assert got.dispatched_ms is not None
    assert got.first_partial_ms is not None
    assert 0 <= got.dispatched_ms <= got.first_partial_ms <= got.result_ms


@run_async
async def test_in_real_time_it_takes_as_long_as_the_speech() -> None:
    recording = Recording(bytes(2 * 16_000 // 4), 16_000)

    async def answer(link: Link) -> None:
        assert len(await link.take_speech()) == len(recording.samples)
        await link.result(0)

    async with answering(answer) as settings:
        realtime = TalkSettings(url=settings.url, src_lang="en", tgt_lang="es", realtime=True)
        got, _ = await talk(recording, realtime, lambda _: None)
    assert got.sent_ms >= 250, "the clock may be late, never early"


@run_async
async def test_a_long_recording_is_not_sent_in_ever_more_messages() -> None:
    recording = Recording(bytes(2 * 8_000 * 60), 8_000)
    messages = 0

    async def answer(link: Link) -> None:
        nonlocal messages
        while '"is_final":true' not in str(await link.raw()):
            messages += 1
        await link.result(0)

    async with answering(answer) as settings:
        await talk(recording, settings, lambda _: None)
    assert messages <= 101


@run_async
async def test_a_failed_utterance_is_raised() -> None:
    async def answer(link: Link) -> None:
        await link.take_speech()
        await link.event("ERROR", 0, error_code="JOB_TIMEOUT", hint="Please try again.")
        details = {"utterance_index": 0}
        await link.send(type="error", code="JOB_TIMEOUT", message="late", details=details)

    async with answering(answer) as settings:
        with pytest.raises(SessionError, match="JOB_TIMEOUT: late") as failure:
            await talk(read_recording(SAMPLE), settings, lambda _: None)
    assert explain(failure.value) == {
        "code": "JOB_TIMEOUT",
        "message": "late",
        "hint": "Please try again.",
    }


@run_async
async def test_a_refusal_that_names_no_utterance_is_raised_too() -> None:
    async def answer(link: Link) -> None:
        await link.take_speech()
        await link.send(type="error", code="MESSAGE_TOO_LARGE", message="too long")

    async with answering(answer) as settings:
        with pytest.raises(Refused, match="MESSAGE_TOO_LARGE"):
            await talk(read_recording(SAMPLE), settings, lambda _: None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read: No such file"),
        (b"hello", "not a PCM WAV file"),
        (write_wav(b"", 16_000), "there is no sound in it"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "me.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=says) as error:
        read_recording(path)
    assert str(error.value).startswith(str(path))


def test_speech_is_saved_as_wav_whatever_way_it_came(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    save_speech(path, new_answer(), b"1234")
    assert read_wav(path.read_bytes()) == (b"1234", 22_050)
    save_speech(path, new_answer(tts_format="wav"), write_wav(b"56", 8_000))
    assert read_wav(path.read_bytes()) == (b"56", 8_000)


@pytest.mark.parametrize(
    ("changes", "speech", "name", "says"),
    [
        ({}, b"", "out.wav", "no speech came back"),
        ({"tts_format": "opus"}, b"12", "out.wav", "'opus', which can't be saved"),
        ({}, b"12", "missing/out.wav", "can't be written: No such file"),
    ],
)
def test_why_speech_can_not_be_saved_is_said(
    tmp_path: Path, changes: dict[str, str], speech: bytes, name: str, says: str
) -> None:
    with pytest.raises(TalkError, match=says):
        save_speech(tmp_path / name, new_answer(**changes), speech)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_shown_with_its_times_and_without_reading_text_as_markup() -> None:
    out = io.StringIO()
    show(Console(file=out, width=200, highlight=False), new_answer(first_partial_ms=120.4))
    assert out.getvalue().splitlines() == [
        "heard       [hello]",
        "translated  hola",
        "speech      4 bytes, pcm16 at 22,050 Hz",
        "times       first partial 120 ms, result 346 ms after the end of 1.0 s of speech, "
        "asr 300 ms",
    ]
