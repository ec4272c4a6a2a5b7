"""Sends a recorded sentence through a scheduler and shows what comes back, as a client would."""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct
from rich.console import Console
from rich.markup import escape

from scheduler.errors import SchedulerError
from scheduler.nodes.audio import read_wav, write_wav
from scheduler.nodes.errors import AudioError
from scheduler.protocol.session import AsrPartial, ErrorMessage, TranslationResult, UiEvent
from scheduler.sdk.client import SessionClient
from scheduler.sdk.errors import Refused, SdkError

CHUNK_MS = 100
_CHUNKS_MAX = 100
"""Not in real time, so many chunks at most: a scheduler limits the messages per second."""


class TalkError(SchedulerError):
    """The answer can't be used as asked. The text says why."""


class TalkSettings(Struct, frozen=True, kw_only=True):
    """What to say, to whom; `timeout_seconds` runs from the end of the speech."""

    url: str
    src_lang: str
    tgt_lang: str
    realtime: bool = False
    timeout_seconds: float = 60.0
    token: str | None = None
    tls: ssl.SSLContext | None = None


class Recording(Struct, frozen=True):
    """Mono PCM16 samples and their rate (Hz)."""

    samples: bytes
    rate_hz: int

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / 2 / self.rate_hz


class Answer(Struct):
    """What came back. Times are ms since the end of the speech was sent."""

    session_id: str
    job_id: str
    transcript: str
    translation: str
    partials: list[str]
    tts_format: str
    tts_sample_rate: int
    tts_bytes: int
    speech_ms: int
    sent_ms: float
    """How long sending took; the other times begin when it ended."""
    dispatched_ms: float | None
    first_partial_ms: float | None
    result_ms: float
    stage_ms: dict[str, float]
    """The node's own figures."""


def read_recording(path: Path) -> Recording:
    """Read a WAV file. Raises AudioError that names the file and says what is wrong with it."""
    try:
        samples, rate_hz = read_wav(path.read_bytes())
    except OSError as error:
        raise AudioError(f"{path}: can't be read: {error.strerror}") from error
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    if not samples:
        raise AudioError(f"{path}: there is no sound in it")
    return Recording(samples, rate_hz)


async def talk(
    recording: Recording, settings: TalkSettings, on_partial: Callable[[str], None]
) -> tuple[Answer, bytes]:
    """Say `recording` and return the answer and its speech (as `tts_format` says).

    Raises ConnectionLost, Refused, SessionError, TimeoutError.
    """
    async with SessionClient.connect(
        settings.url,
        src_lang=settings.src_lang,
        tgt_lang=settings.tgt_lang,
        sample_rate=recording.rate_hz,
        enable_streaming_asr=True,
        token=settings.token,
        tls=settings.tls,
    ) as session:
        watch = _Watch(session, on_partial)
        watching = asyncio.create_task(watch.run())
        try:
            started_ns = time.monotonic_ns()
            await _say(session, recording, realtime=settings.realtime)
            index = await session.end_utterance()
            watch.start_ns = time.monotonic_ns()
            result = await _first(watching, session.result_for(index, settings.timeout_seconds))
            result_ms = watch.elapsed_ms()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        sent_ms = (watch.start_ns - started_ns) / 1e6
        return _answer(recording, result, watch, sent_ms, result_ms), result.tts_audio or b""


async def _say(session: SessionClient, recording: Recording, *, realtime: bool) -> None:
    samples_per_chunk = recording.rate_hz * CHUNK_MS // 1000
    if not realtime:
        samples_per_chunk = max(samples_per_chunk, len(recording.samples) // 2 // _CHUNKS_MAX)
    loop = asyncio.get_running_loop()
    begun_seconds = loop.time()
    size = 2 * samples_per_chunk
    for number, start in enumerate(range(0, len(recording.samples), size), start=1):
        if realtime:  # a chunk is there only once it has been spoken
            await asyncio.sleep(begun_seconds + number * CHUNK_MS / 1000 - loop.time())
        await session.send_audio(recording.samples[start : start + size])


class _Watch:
    """Follows the events of a session that says one utterance."""

    def __init__(self, session: SessionClient, on_partial: Callable[[str], None]) -> None:
        self.start_ns = time.monotonic_ns()
        self.partials: list[str] = []
        self.dispatched_ms: float | None = None
        self.first_partial_ms: float | None = None
        self._session = session
        self._on_partial = on_partial

    def elapsed_ms(self) -> float:
        return round((time.monotonic_ns() - self.start_ns) / 1e6, 3)

    async def run(self) -> None:
        """Note events; raise Refused for a refusal that belongs to no utterance."""
        async for event in self._session.events():
            if isinstance(event, UiEvent) and event.event == "DISPATCHED":
                self.dispatched_ms = self.elapsed_ms()
            elif isinstance(event, AsrPartial):
                self.first_partial_ms = self.first_partial_ms or self.elapsed_ms()
                self.partials.append(event.text)
                self._on_partial(event.text)
            elif isinstance(event, ErrorMessage):
                details = {} if event.details is UNSET else event.details
                if "utterance_index" not in details:
                    raise Refused(event.code, event.message, details)


async def _first(
    watching: "asyncio.Task[None]", waiting: Coroutine[Any, Any, TranslationResult]
) -> TranslationResult:
    """Return the result, unless the watch fails before it comes."""
    result = asyncio.create_task(waiting)
    try:
        await asyncio.wait({watching, result}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            watching.result()
        return await result
    finally:
        result.cancel()
        await asyncio.gather(result, return_exceptions=True)


def _answer(
    recording: Recording,
    result: TranslationResult,
    watch: _Watch,
    sent_ms: float,
    result_ms: float,
) -> Answer:
    extra = result.extra or {}
    return Answer(
        session_id=result.session_id,
        job_id=result.job_id,
        transcript=result.text_asr or "",
        translation=result.text_translated or "",
        partials=watch.partials,
        tts_format=result.tts_format or "pcm16",
        tts_sample_rate=extra.get("tts_sample_rate", recording.rate_hz),
        tts_bytes=len(result.tts_audio or b""),
        speech_ms=round(recording.seconds * 1000),
        sent_ms=round(sent_ms, 3),
        dispatched_ms=watch.dispatched_ms,
        first_partial_ms=watch.first_partial_ms,
        result_ms=result_ms,
        stage_ms=extra.get("stage_ms", {}),
    )


def explain(error: SdkError) -> dict[str, str]:
    """Return an error as data: `message`, and `code` and `hint` where it has them."""
    fields = {name: getattr(error, name, None) for name in ("code", "message", "hint")}
    given = {name: text for name, text in fields.items() if text is not None}
    return {"message": str(error)} | given


def save_speech(path: Path, answer: Answer, speech: bytes) -> None:
    """Write the answer's speech as a WAV file. Raises TalkError where that can't be done."""
    if not speech:
        raise TalkError(f"no speech came back; {path} was not written")
    if answer.tts_format not in {"pcm16", "wav"}:
        raise TalkError(f"speech came as {answer.tts_format!r}, which can't be saved as WAV")
    wav = write_wav(speech, answer.tts_sample_rate) if answer.tts_format == "pcm16" else speech
    try:
        path.write_bytes(wav)
    except OSError as error:
        raise TalkError(f"{path}: can't be written: {error.strerror}") from error


def show(console: Console, answer: Answer) -> None:
    """Print an answer for people."""
    console.print(f"heard       [bold]{escape(answer.transcript)}[/]")
    console.print(f"translated  [bold]{escape(answer.translation)}[/]")
    if answer.tts_bytes:
        console.print(
            f"speech      {answer.tts_bytes:,} bytes, {answer.tts_format} "
            f"at {answer.tts_sample_rate:,} Hz"
        )
    stages = "".join(f", {stage} {time_ms:.0f} ms" for stage, time_ms in answer.stage_ms.items())
    first = answer.first_partial_ms
    partial = "" if first is None else f"first partial {first:.0f} ms, "
    console.print(
        f"times       {partial}result {answer.result_ms:.0f} ms after the end of "
        f"{answer.speech_ms / 1000:.1f} s of speech{stages}"
    )
