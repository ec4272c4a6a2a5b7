"""A session: speech goes in, typed events and results come out.

async with SessionClient.connect(url, src_lang="en", tgt_lang="es") as session:
    index = await session.send_utterance(audio)
    result = await session.result_for(index)
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import TypedDict, Unpack

import pybase64
from msgspec import Raw

import scheduler
from scheduler.protocol.session import (
    AsrPartial,
    AudioChunk,
    ClientHeartbeat,
    Features,
    Mode,
    Pipeline,
    SessionClose,
    SessionCloseAck,
    SessionInit,
    SessionInitAck,
    TranslationResult,
    TtsPlayEnded,
    UiEvent,
    Utterance,
)
from scheduler.sdk.connection import Connection, cancel_and_wait
from scheduler.sdk.errors import ConnectionLost
from scheduler.sdk.messages import SessionEvent, session_event_decoder
from scheduler.sdk.opening import introduce
from scheduler.sdk.outcomes import Outcomes
from scheduler.sdk.resuming import ResumingConnection

EVENTS_MAX = 1024
"""Events kept for a reader that is behind; the oldest are dropped beyond it."""


class SessionOptions(TypedDict, total=False):
    """Optional fields of `session_init`, by their names in the protocol."""

    dialect: str
    features: Features
    pairing_code: str
    tenant_id: str
    mode: Mode
    lang_a: str
    lang_b: str
    auto_langs: list[str]
    enable_streaming_asr: bool
    partial_update_interval_ms: int
    trace_id: str
    pipeline: Pipeline
    token: str | None


class SessionClient:
    """An open session; made by `connect`. Use it from one task, or several of one event loop.

    Sending raises ConnectionLost once the socket is gone; with `resumable`, once the session is.
    """

    def __init__(
        self,
        connection: Connection[SessionEvent] | ResumingConnection,
        init: SessionInit,
        ack: SessionInitAck,
    ) -> None:
        self.session_id = ack.session_id
        self.assigned_node_id = ack.assigned_node_id
        self.trace_id = ack.trace_id
        self.events_dropped_total = 0
        self._connection = connection
        self._init = init
        self._events: deque[SessionEvent] = deque()
        self._arrived = asyncio.Condition()
        self._outcomes = Outcomes()
        self._lost: ConnectionLost | None = None
        self._closing = False
        self._close_acked = asyncio.Event()
        self._next_index = 0
        self._next_seq = 0
        self._speaking = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        src_lang: str,
        tgt_lang: str,
        client_version: str = scheduler.__version__,
        platform: str = "python",
        audio_format: str = "pcm16",
        sample_rate: int = 16_000,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        resumable: bool = False,
        **options: Unpack[SessionOptions],
    ) -> AsyncGenerator["SessionClient"]:
        """Open a session at `url`, as ws://host:5010/ws/session; leaving the block closes it.

        `audio_format` and `sample_rate` (Hz) hold for all audio of the session that doesn't say
        otherwise; `options` are further fields of `session_init`; `tls` is for wss:// addresses.
        A `resumable` session outlives its socket: it goes on on another, as long as the scheduler
        waits for it. Raises ConnectionLost, or Refused with the scheduler's code.
        """
        init = SessionInit(
            src_lang=src_lang,
            tgt_lang=tgt_lang,
            client_version=client_version,
            platform=platform,
            audio_format=audio_format,
            sample_rate=sample_rate,
            resumable=resumable or None,
            **options,
        )

        def dial() -> Awaitable[Connection[SessionEvent]]:
            return Connection.open(
                url, session_event_decoder, timeout_seconds=timeout_seconds, tls=tls
            )

        connection = await dial()
        try:
            ack = await introduce(connection, init, timeout_seconds)
        except BaseException:
            connection.abort()
            raise
        if ack.resume_token:
            session = cls(ResumingConnection(connection, ack, dial, timeout_seconds), init, ack)
        else:
            session = cls(connection, init, ack)
        try:
            yield session
        finally:
            await session.close()

    @property
    def resumed(self) -> int:
        """How often the session went on on another socket."""
        return self._connection.resumed if isinstance(self._connection, ResumingConnection) else 0

    async def send_utterance(
        self,
        audio: bytes,
        audio_format: str | None = None,
        sample_rate: int | None = None,
        *,
        utterance_index: int | None = None,
        request_id: str | None = None,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        features: Features | None = None,
        trace_id: str | None = None,
        manual_cut: bool = True,
    ) -> int:
        """Send one whole utterance and return its index.

        What is not given is taken from the session. The same `request_id` sent again within the
        scheduler's lease gives the same job, not a second one.
        """
        index = self._next_index if utterance_index is None else utterance_index
        self._next_index = max(self._next_index, index + 1)
        await self._connection.send(
            Utterance(
                session_id=self.session_id,
                utterance_index=index,
                manual_cut=manual_cut,
                src_lang=src_lang or self._init.src_lang,
                tgt_lang=tgt_lang or self._init.tgt_lang,
                audio=Raw(b'"%b"' % pybase64.b64encode(audio)),
                audio_format=audio_format or self._init.audio_format or "pcm16",
                sample_rate=sample_rate or self._init.sample_rate or 16_000,
                features=features,
                trace_id=trace_id,
                request_id=request_id,
            )
        )
        return index

    async def send_audio(self, chunk: bytes, *, binary: bool = False) -> None:
        """Send a piece of the utterance being spoken, as JSON or as a binary frame.

        A resumable session sends JSON alone: such pieces have numbers, by which it goes on.
        """
        if binary and isinstance(self._connection, Connection):
            await self._connection.send_binary(chunk)
        else:
            await self._send_chunk(pybase64.b64encode(chunk).decode(), is_final=False)
        self._speaking = True  # now: what came while it waited to be sent is about those before

    async def end_utterance(self) -> int:
        """End the utterance that `send_audio` built up, and return its index.

        If the scheduler has already cut it because of a pause, that index is returned.
        """
        if self._speaking:
            self._speaking = False
            self._next_index += 1
        index = self._next_index - 1
        await self._send_chunk(None, is_final=True)
        return index

    async def pause(self, timeout_seconds: float = 30.0) -> int:
        """Say nothing until the scheduler has cut the utterance by itself; return its index.

        It does so `web_task_segmentation.pause_ms` after the last chunk. Raises TimeoutError, and
        ConnectionLost.
        """
        index = self._next_index
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: self._next_index > index or self._lost)
        if self._next_index <= index and self._lost:
            raise self._lost
        return index

    async def _send_chunk(self, payload: str | None, *, is_final: bool) -> None:
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        await self._connection.send(AudioChunk(seq, is_final, self.session_id, payload))

    async def heartbeat(self) -> None:
        """Keep the session alive; the answer arrives as a ServerHeartbeat event."""
        await self._connection.send(ClientHeartbeat(self.session_id, _now_ms()))

    async def tts_play_ended(
        self, group_id: str, *, trace_id: str | None = None, ts_end_ms: int | None = None
    ) -> None:
        """Tell that a group's speech has been played to its end, now by default."""
        await self._connection.send(
            TtsPlayEnded(
                self.session_id, trace_id or self.trace_id, group_id, ts_end_ms or _now_ms()
            )
        )

    async def events(self) -> AsyncIterator[SessionEvent]:
        """Yield events in order until the session is closed here; then end.

        One reader only. A reader that falls behind by EVENTS_MAX loses the oldest events
        (`events_dropped_total`), never an outcome of `result_for`. Raises ConnectionLost after
        the last event if the session ended otherwise.
        """
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._events or self._lost)
            while self._events:
                yield self._events.popleft()
            if self._lost:
                if self._closing:
                    return
                raise self._lost

    async def result_for(self, index: int, timeout_seconds: float = 120.0) -> TranslationResult:
        """Wait until the utterance has ended and return its result.

        Raises SessionError with the failure's code and hint, ConnectionLost, or TimeoutError.
        Reading `events` is not needed for it.
        """
        return await self._outcomes.wait(index, timeout_seconds)

    async def close(self, reason: str = "done") -> None:
        """End the session: unfinished utterances are cancelled. May be called again."""
        if not self._closing:
            self._closing = True
            with suppress(ConnectionLost, TimeoutError):
                async with asyncio.timeout(5):
                    await self._connection.send(SessionClose(self.session_id, reason))
                    await self._close_acked.wait()
        await self._connection.close()
        await cancel_and_wait(self._reader)

    async def _read(self) -> None:
        try:
            while True:
                await self._take(await self._connection.receive())
        except ConnectionLost as error:
            self._lost = error
        finally:
            self._lost = self._lost or ConnectionLost("the session was closed")
            self._close_acked.set()
            self._outcomes.lose(self._lost)
            async with self._arrived:
                self._arrived.notify_all()

    async def _take(self, event: SessionEvent) -> None:
        self._outcomes.note(event)
        if isinstance(event, SessionCloseAck):
            self._close_acked.set()
        elif isinstance(event, UiEvent | AsrPartial | TranslationResult):
            self._follow_cuts(event.utterance_index)
        elif isinstance(event, SessionInitAck):
            self._follow_resuming(event)
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self.events_dropped_total += 1
        self._events.append(event)
        async with self._arrived:
            self._arrived.notify_all()

    def _follow_cuts(self, index: int) -> None:
        """Learn of an utterance that the scheduler cut by itself."""
        if index >= self._next_index:
            self._next_index = index + 1
            self._speaking = False

    def _follow_resuming(self, ack: SessionInitAck) -> None:
        if isinstance(ack.next_utterance_index, int):
            self._follow_cuts(ack.next_utterance_index - 1)
        if isinstance(self._connection, ResumingConnection):
            self._speaking = self._connection.is_speaking


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
