"""A node that really recognises, translates and speaks: PocketSphinx, Apertium, eSpeak NG.

audio ──recogniser──► text ──translator──► text ──synthesiser──► audio

It offers only the services whose tools are installed, and refuses single jobs that these can't do.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

import structlog
from msgspec import Struct

from scheduler.nodes.audio import to_pcm16
from scheduler.nodes.errors import AudioError, CommandError, NoToolsError, RecognizerError
from scheduler.nodes.languages import primary
from scheduler.nodes.recognizer import LANGUAGE, OnPartial, RecognizerPool
from scheduler.nodes.recognizer import available as recognizer_available
from scheduler.nodes.recognizer_worker import RATE_HZ
from scheduler.nodes.synthesizer import Synthesizer
from scheduler.nodes.translator import Translator
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import JobAssign
from scheduler.sdk.errors import JobFailed
from scheduler.sdk.jobs import Job, JobOutcome
from scheduler.sdk.node import NodeClient

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class SpeechSettings(Struct, frozen=True, kw_only=True):
    """Where the node serves, and under which ids its stages are known there; "" = not offered."""

    url: str
    slots: int = 2
    name: str = "speech"
    asr_service_id: str = "node-inference"
    nmt_service_id: str = "nmt-m2m100"
    tts_service_id: str = "piper-tts"
    heartbeat_seconds: float = 15.0
    token: str | None = None
    tls: ssl.SSLContext | None = None


class SpeechHandler:
    """Runs jobs with the tools that are there; a missing one is None."""

    def __init__(
        self,
        settings: SpeechSettings,
        recognizer: RecognizerPool | None,
        translator: Translator,
        synthesizer: Synthesizer,
    ) -> None:
        self._settings = settings
        self._recognizer = recognizer
        self._translator = translator
        self._synthesizer = synthesizer

    def services(self) -> list[str]:
        """Return the ids of the services that can really be run."""
        settings = self._settings
        offers = (
            (settings.asr_service_id, self._recognizer is not None),
            (settings.nmt_service_id, bool(self._translator.modes)),
            (settings.tts_service_id, bool(self._synthesizer.languages)),
        )
        return [service_id for service_id, offered in offers if service_id and offered]

    async def __call__(self, job: Job) -> JobOutcome:
        """Run the stages that the job's pipeline names."""
        assign = job.assign
        source = LANGUAGE if assign.src_lang == "auto" else primary(assign.src_lang)
        uses_nmt = assign.pipeline.use_nmt is not False
        uses_tts = assign.pipeline.use_tts is not False
        target = primary(assign.tgt_lang) if uses_nmt else source
        # All refusals come before the first work, so that another node gets the job soon.
        self._check(assign, source, target, uses_tts=uses_tts)
        pcm = self._read_audio(assign)
        times_ms: dict[str, float] = {}
        heard = await self._recognize(pcm, _PartialSender(job).send, times_ms)
        outcome = JobOutcome(text_asr=heard)
        text = heard
        if uses_nmt:
            outcome.text_translated = text = await self._translate(heard, source, target, times_ms)
        outcome.extra = {"stage_ms": times_ms}
        if uses_tts and text:
            audio, rate_hz = await self._speak(text, target, times_ms)
            outcome.tts_audio = audio
            outcome.extra["tts_sample_rate"] = rate_hz
        return outcome

    def _check(self, assign: JobAssign, source: str, target: str, *, uses_tts: bool) -> None:
        settings = self._settings
        if assign.pipeline.use_asr is False:
            raise JobFailed(
                ErrorCode.UNSUPPORTED_FEATURE, "this node takes its text from audio; use use_asr"
            )
        if self._recognizer is None or source != LANGUAGE:
            raise _lacking(settings.asr_service_id, f"can't recognise {assign.src_lang!r}")
        if source != target and not self._translator.supports(source, target):
            raise _lacking(settings.nmt_service_id, f"can't translate {source!r} to {target!r}")
        if uses_tts and not self._synthesizer.supports(target):
            raise _lacking(settings.tts_service_id, f"can't speak {target!r}")

    @staticmethod
    def _read_audio(assign: JobAssign) -> bytes:
        try:
            return to_pcm16(assign.audio, assign.audio_format, assign.sample_rate, RATE_HZ)
        except AudioError as error:
            # Not MODEL_NOT_AVAILABLE: one client's broken audio would keep the node's recogniser
            # from all others for the time of the mark.
            raise JobFailed(ErrorCode.UNSUPPORTED_FEATURE, str(error)) from error

    async def _recognize(
        self, pcm: bytes, on_partial: OnPartial, times_ms: dict[str, float]
    ) -> str:
        assert self._recognizer is not None
        try:
            return await _timed(times_ms, "asr", self._recognizer.recognize(pcm, on_partial))
        except RecognizerError as error:
            raise JobFailed(ErrorCode.MODEL_LOAD_FAILED, str(error)) from error
        except TimeoutError as error:
            raise JobFailed(ErrorCode.JOB_TIMEOUT, "recognition took too long") from error

    async def _translate(
        self, text: str, source: str, target: str, times_ms: dict[str, float]
    ) -> str:
        if source == target:
            return text
        translating = self._translator.translate(text, source, target)
        try:
            return await _timed(times_ms, "nmt", translating)
        except CommandError as error:
            raise JobFailed(ErrorCode.MODEL_LOAD_FAILED, str(error)) from error
        except TimeoutError as error:
            raise JobFailed(ErrorCode.NMT_TIMEOUT, "translation took too long") from error

    async def _speak(
        self, text: str, language: str, times_ms: dict[str, float]
    ) -> tuple[bytes, int]:
        try:
            return await _timed(times_ms, "tts", self._synthesizer.speak(text, language))
        except CommandError as error:
            raise JobFailed(ErrorCode.MODEL_LOAD_FAILED, str(error)) from error
        except TimeoutError as error:
            raise JobFailed(ErrorCode.TTS_TIMEOUT, "speech output took too long") from error


class _PartialSender:
    """Passes partial texts on, if the job wants them, and not more often than it wants."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._wanted = job.assign.enable_streaming_asr is True
        self._interval_seconds = (job.assign.partial_update_interval_ms or 0) / 1000
        self._next_seconds = 0.0

    async def send(self, text: str) -> None:
        now_seconds = time.monotonic()
        if self._wanted and now_seconds >= self._next_seconds:
            self._next_seconds = now_seconds + self._interval_seconds
            await self._job.partial(text)


async def run(settings: SpeechSettings) -> None:
    """Serve until cancelled or shut down by an operator. Raises NoToolsError and Refused."""
    translator, synthesizer = await asyncio.gather(Translator.find(), Synthesizer.find())
    async with AsyncExitStack() as stack:
        recognizer = None
        if settings.asr_service_id and recognizer_available():
            recognizer = await stack.enter_async_context(RecognizerPool(settings.slots))
        handler = SpeechHandler(settings, recognizer, translator, synthesizer)
        services = handler.services()
        if not services:
            raise NoToolsError(
                "nothing to offer: install the extra 'speech' (pip install "
                "'lingua-scheduler[speech]'), and apertium with a language pair, and espeak-ng"
            )
        _log.info("speech node", services=services, modes=sorted(translator.modes))
        await NodeClient(
            settings.url,
            services=services,
            handler=handler,
            capacity=settings.slots,
            name=settings.name,
            heartbeat_seconds=settings.heartbeat_seconds,
            token=settings.token,
            tls=settings.tls,
        ).run()


def _lacking(service_id: str, problem: str) -> JobFailed:
    return JobFailed(ErrorCode.MODEL_NOT_AVAILABLE, problem, {"service_id": service_id})


async def _timed(times_ms: dict[str, float], stage: str, work: Awaitable[T]) -> T:
    started_ns = time.monotonic_ns()
    try:
        return await work
    finally:
        times_ms[stage] = round((time.monotonic_ns() - started_ns) / 1e6, 3)
