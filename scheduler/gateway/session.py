"""One session's socket: protocol.md's "Sessions", message by message.

new ──session_init──► open            (or pairing ──answer──► open)
open ──session_close, socket closed──► closed
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from websockets.frames import CloseCode

from scheduler.errors import PeerError
from scheduler.gateway.connection import Connection
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.jobs import JobDesk
from scheduler.gateway.messages import SHUTTING_DOWN, busy, decode, encode, error_message, error_of
from scheduler.gateway.segmenter import Cut, Segmenter, check_audio, decode_payload
from scheduler.gateway.session_rows import SessionRows
from scheduler.gateway.splice import audio_text
from scheduler.gateway.utterances import Parts, SessionIdentity, Speech, Utterances
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import PairingAnswer
from scheduler.protocol.session import (
    AudioChunk,
    ClientHeartbeat,
    ServerHeartbeat,
    SessionClose,
    SessionCloseAck,
    SessionInit,
    SessionInitAck,
    SessionMessage,
    TtsPlayEnded,
    Utterance,
    session_decoder,
)

AUDIO_FORMAT_DEFAULT = "pcm16"
SAMPLE_RATE_DEFAULT = 16_000

_READ_TURN_SECONDS = 0.001
"""Enough for the event loop to read its sockets once."""

_HELD_MESSAGES_MAX = 64
"""Messages kept while the pairing code is being checked, which takes a millisecond or two."""


ClaimCode = Callable[["SessionPeer", str, str], None]
"""Asks the dispatcher about a pairing code: (session, code, address)."""


class SessionPeer:
    """A session, from its socket's opening to its closing."""

    def __init__(
        self,
        context: GatewayContext,
        desk: JobDesk,
        rows: SessionRows,
        connection: Connection,
        claim_code: ClaimCode,
        on_closed: Callable[["SessionPeer"], None],
    ) -> None:
        self._context = context
        self._desk = desk
        self._rows = rows
        self._connection = connection
        self._claim_code = claim_code
        self._tell_closed = on_closed
        self._identity: SessionIdentity | None = None
        self._utterances: Utterances | None = None
        self._segmenter: Segmenter | None = None
        self._row = -1
        self._next_index = 0
        self._pause_timer: asyncio.TimerHandle | None = None
        self._pairing: SessionInit | None = None
        """The `session_init` whose pairing code is being checked."""
        self._held: list[tuple[bytes, bool]] = []
        self._closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            SessionInit: self._refuse_init,
            Utterance: self._utterance,
            AudioChunk: self._audio_chunk,
            ClientHeartbeat: self._heartbeat,
            TtsPlayEnded: self._tts_play_ended,
            SessionClose: self._session_close,
        }

    # --- what the connection calls -------------------------------------------------------

    def on_text(self, message: bytes) -> None:
        """Take one text message."""
        self._take(message, self._text)

    def on_binary(self, message: bytes) -> None:
        """Take raw audio: the same as the payload of an `audio_chunk`."""
        self._take(message, self._binary)

    def on_closed(self) -> None:
        """The socket is gone: so are the session and its jobs."""
        self._end("the session's connection closed")
        self._tell_closed(self)

    def _take(self, message: bytes, handle: Callable[[bytes], None]) -> None:
        try:
            if self._pairing is not None:
                self._hold(message, handle == self._binary)
            elif not self._closed:
                handle(message)
        except PeerError as error:
            self._context.count_refusal(error)
            self._connection.send(error_of(error))

    def _hold(self, message: bytes, binary: bool) -> None:
        held_bytes = sum(len(held) for held, _ in self._held) + len(message)
        if (
            len(self._held) == _HELD_MESSAGES_MAX
            or held_bytes > self._context.config.limits.message_bytes_max
        ):
            raise busy("the pairing code is still being checked: wait for session_init_ack")
        self._held.append((message, binary))

    def _text(self, text: bytes) -> None:
        message: SessionMessage = decode(session_decoder, text)
        if self._identity is None:
            if not isinstance(message, SessionInit):
                raise PeerError(ErrorCode.INVALID_SESSION, "send session_init first")
            self._init(message)
            return
        session_id = getattr(message, "session_id", None)
        if session_id is not None and session_id != self._identity.session_id:
            raise PeerError(
                ErrorCode.INVALID_SESSION,
                "session_id is not this connection's; use the one of session_init_ack",
            )
        self._handlers[type(message)](message)

    def _binary(self, audio: bytes) -> None:
        if self._identity is None:
            raise PeerError(ErrorCode.INVALID_SESSION, "send session_init first")
        self._add_audio(audio, is_final=False)

    # --- opening -------------------------------------------------------------------------

    def _init(self, init: SessionInit) -> None:
        if self._context.draining:
            raise PeerError(ErrorCode.SERVER_SHUTDOWN, SHUTTING_DOWN)
        if not init.pairing_code:  # an empty field of a form is no code
            self._open(init, NO_NODE, None)
            return
        self._pairing = init
        self.claim()

    def claim(self) -> None:
        """Ask the dispatcher about the pairing code, if there is one; again if it was replaced."""
        if self._pairing is not None and self._pairing.pairing_code:
            self._claim_code(self, self._pairing.pairing_code, self._connection.peer_address)

    def pairing_answered(self, answer: PairingAnswer) -> None:
        """Go on with what the dispatcher says of the pairing code."""
        init, self._pairing = self._pairing, None
        if init is None or self._closed:
            return
        held, self._held = self._held, []
        try:
            self._open_paired(init, answer)
        except PeerError as error:
            self._context.count_refusal(error)
            self._connection.send(error_of(error))
        for message, binary in held:
            self._take(message, self._binary if binary else self._text)

    def _open_paired(self, init: SessionInit, answer: PairingAnswer) -> None:
        if answer.code:
            code = ErrorCode(answer.code)
            raise PeerError(code, _PAIRING_REFUSALS[code])
        self._open(init, answer.node, answer.node_id)

    def _open(self, init: SessionInit, paired: int, paired_id: str | None) -> None:
        self._row = self._rows.open(init)
        settings = self._context.config
        self._identity = SessionIdentity(
            f"sess-{secrets.token_hex(8).upper()}", init.trace_id or str(uuid.uuid4()), init, paired
        )
        self._utterances = Utterances(self._context, self._desk, self._identity, self._send)
        self._segmenter = Segmenter(
            settings.scheduler.web_task_segmentation.pause_ms * 1_000_000,
            settings.limits.utterance_bytes_max,
        )
        self._connection.mark_identified()
        ack = SessionInitAck(
            self._identity.session_id, paired_id, "session created", self._identity.trace_id
        )
        self._connection.send(encode(ack))

    def _refuse_init(self, _: SessionInit) -> None:
        raise PeerError(
            ErrorCode.INVALID_MESSAGE, "the session is open; use a new connection for another"
        )

    # --- speech --------------------------------------------------------------------------

    def _utterance(self, message: Utterance) -> None:
        assert self._identity is not None
        assert self._utterances is not None
        trace_id = message.trace_id or self._identity.trace_id
        self._utterances.submit(
            Speech(
                message.utterance_index,
                check_audio(message.audio),
                message.audio_format,
                message.sample_rate,
                message.src_lang,
                message.tgt_lang,
                trace_id,
                message,
                self._utterances.key_of(message, trace_id),
                self._connection.read_ns,
            )
        )

    def _audio_chunk(self, chunk: AudioChunk) -> None:
        payload = decode_payload(chunk.payload) if chunk.payload else b""
        # `seq` orders nothing: a WebSocket neither reorders nor repeats, and clients in the field
        # restart their numbering at different points. Dropping by it would lose speech.
        self._add_audio(payload, is_final=chunk.is_final)

    def _add_audio(self, audio: bytes, *, is_final: bool) -> None:
        assert self._segmenter is not None
        cut = self._segmenter.add(audio, is_final, self._context.now_ns)
        if cut is not None:
            self._submit_cut(cut)
        elif self._pause_timer is None and self._segmenter.deadline_ns is not None:
            self._watch_pause(self._segmenter.deadline_ns)

    def _watch_pause(self, deadline_ns: int) -> None:
        # One timer that looks again, rather than one that every chunk sets anew.
        delay_ns = max(0, deadline_ns - self._context.now_ns)
        self._pause_timer = self._context.loop.call_later(delay_ns / 1e9, self._look_for_pause)

    def _look_for_pause(self) -> None:
        assert self._segmenter is not None
        if self._connection.is_reading_paused:
            # What the client says is waiting in the socket: it is we who make the pause.
            self._segmenter.start_pause(self._context.now_ns)
        # Timers run before sockets are read, so after a stall of this process chunks may be
        # waiting too: look once they have been read.
        self._pause_timer = self._context.loop.call_later(_READ_TURN_SECONDS, self._end_pause)

    def _end_pause(self) -> None:
        assert self._segmenter is not None
        self._pause_timer = None
        deaf = self._connection.is_reading_paused
        cut = None if deaf else self._segmenter.poll(self._context.now_ns)
        if cut is None:
            deadline_ns = self._segmenter.deadline_ns
            if deadline_ns is not None:
                self._watch_pause(deadline_ns)
            return
        try:
            self._submit_cut(cut)
        except PeerError as error:
            self._context.codes.add_refused(error.code)
            self._connection.send(error_of(error))

    def _submit_cut(self, cut: Cut) -> None:
        assert self._identity is not None
        assert self._utterances is not None
        self._context.counters.add(f"utterances_cut_by_{cut.reason}_total")
        init = self._identity.init
        index = self._next_index
        self._next_index += 1
        self._utterances.submit(
            Speech(
                index,
                audio_text(cut.audio),
                init.audio_format or AUDIO_FORMAT_DEFAULT,
                init.sample_rate or SAMPLE_RATE_DEFAULT,
                init.src_lang,
                init.tgt_lang,
                self._identity.trace_id,
                init,
                None,  # the server numbers these itself: none can be a repeat
                self._connection.read_ns if cut.reason == "final" else None,
            )
        )

    # --- the rest ------------------------------------------------------------------------

    def _heartbeat(self, message: ClientHeartbeat) -> None:
        self._connection.send(encode(ServerHeartbeat(message.session_id, self._context.now_ms)))

    def _tts_play_ended(self, _: TtsPlayEnded) -> None:
        self._context.counters.add("tts_play_ended_total")

    def _session_close(self, message: SessionClose) -> None:
        self._end("the session closed")
        self._connection.send(encode(SessionCloseAck(message.session_id)))
        self._connection.close(CloseCode.NORMAL_CLOSURE, "session closed")

    def _send(self, parts: Parts) -> None:
        if not self._closed:
            self._connection.send_parts(parts)

    def _end(self, reason: str) -> None:
        """Free everything the session holds; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._pairing = None
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        if self._utterances is not None:
            self._utterances.cancel_all(reason)
        if self._row >= 0:
            self._rows.close(self._row)

    def drain(self) -> None:
        """Close with 1012, once the jobs in flight are finished."""
        if self._utterances is None:
            self.shut_down()
        else:
            self._utterances.when_idle(self.shut_down)

    def shut_down(self) -> None:
        """Close with 1012 now."""
        if not self._closed:
            self._connection.send(error_message(ErrorCode.SERVER_SHUTDOWN, SHUTTING_DOWN))
        self._connection.close(CloseCode.SERVICE_RESTART, "service restart")


_PAIRING_REFUSALS = {
    ErrorCode.INVALID_PAIRING_CODE: "the pairing code is wrong or has expired; ask for a new one",
    ErrorCode.RATE_LIMITED: "too many wrong pairing codes; try again in a minute",
}
