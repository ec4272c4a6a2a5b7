"""One session's socket: protocol.md's "Sessions", message by message.

new ──session_init──► open            (or pairing ──answer──► open)
open ──session_close, socket closed──► closed
open ──socket lost, if it may resume──► suspended (resuming.py) ──session_resume──► open

A socket that begins with session_resume goes to the object of its session; the one that was made
for it is done then.
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from websockets.frames import CloseCode

from scheduler.errors import NotAdmitted, PeerError
from scheduler.gateway.connection import Connection
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.jobs import JobDesk
from scheduler.gateway.messages import SHUTTING_DOWN, busy, decode, encode, error_message, error_of
from scheduler.gateway.reply_tail import Reply
from scheduler.gateway.resuming import ResumeDesk, Resumption
from scheduler.gateway.segmenter import Cut, Segmenter, check_audio, decode_payload
from scheduler.gateway.session_rows import SessionRows
from scheduler.gateway.splice import audio_text
from scheduler.gateway.utterances import Parts, SessionIdentity, Speech, Utterances
from scheduler.protocol.cancellations import Cancellation
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
    SessionResume,
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
        resuming: ResumeDesk,
        connection: Connection,
        claim_code: ClaimCode,
        on_closed: Callable[["SessionPeer"], None],
    ) -> None:
        self._context = context
        self._desk = desk
        self._rows = rows
        self._resuming = resuming
        self._connection = connection
        self._claim_code = claim_code
        self._tell_closed = on_closed
        self._identity: SessionIdentity | None = None
        self._utterances: Utterances | None = None
        self._segmenter: Segmenter | None = None
        self._resumption: Resumption | None = None
        """None: it may not resume."""
        self._paired_id: str | None = None
        self._row = -1
        self._next_index = 0
        self._pause_timer: asyncio.TimerHandle | None = None
        self._pairing: SessionInit | None = None
        """The `session_init` whose pairing code is being checked."""
        self._held: list[tuple[bytes, bool]] = []
        self._closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            SessionInit: self._refuse_init,
            SessionResume: self._refuse_init,
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
        """The socket is gone: so are the session and its jobs, unless it may resume."""
        ended = self._closed or self._connection.is_ended or self._context.draining
        if self._resumption is None or ended:
            shutdown = self._context.draining
            self._end(Cancellation.SHUTDOWN if shutdown else Cancellation.CONNECTION_CLOSED)
            self._tell_closed(self)
        else:
            self._stop_pause()
            self._resuming.suspend(self._resumption)

    def _take(self, message: bytes, handle: Callable[[bytes], None]) -> None:
        try:
            if self._pairing is not None:
                self._hold(message, handle == self._binary)
            elif not self._closed:
                if self._resumption is not None:
                    self._resumption.confirm()
                handle(message)
        except PeerError as error:
            self._refuse(error)

    def _refuse(self, error: PeerError) -> None:
        self._context.count_refusal(error)
        self._tell(error)
        if isinstance(error, NotAdmitted):
            self._connection.close(CloseCode.POLICY_VIOLATION, error.code)

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
            if isinstance(message, SessionResume):
                self._resume(message)
                return
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
        init.tenant_id = self._context.doorkeeper.admit_session(self._connection, init) or None
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
            self._refuse(error)
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
            f"sess-{secrets.token_hex(8).upper()}",
            init.trace_id or str(uuid.uuid4()),
            init,
            paired,
            init.tenant_id or "",
        )
        self._paired_id = paired_id
        if init.resumable:
            self._resumption = self._resuming.enroll(self._identity.session_id, self)
        self._utterances = Utterances(
            self._context, self._desk, self._identity, self._send, self._reply
        )
        self._segmenter = Segmenter(
            settings.scheduler.web_task_segmentation.pause_ms * 1_000_000,
            settings.limits.utterance_bytes_max,
        )
        self._connection.mark_identified()
        self._connection.send(encode(self._ack("session created")))

    def _ack(self, message: str) -> SessionInitAck:
        assert self._identity is not None
        session_id, trace_id = self._identity.session_id, self._identity.trace_id
        ack = SessionInitAck(session_id, self._paired_id, message, trace_id)
        if self._resumption is not None:
            ack.resume_token = self._resumption.token
            ack.resume_seconds = self._resuming.seconds
        return ack

    def _refuse_init(self, _: SessionInit | SessionResume) -> None:
        raise PeerError(
            ErrorCode.INVALID_MESSAGE, "the session is open; use a new connection for another"
        )

    # --- another socket ------------------------------------------------------------------

    def _resume(self, resume: SessionResume) -> None:
        self._resuming.lead(self._connection, resume, self._refuse)
        self._closed = True
        self._tell_closed(self)

    def go_on(self, connection: Connection, replies: list[Reply]) -> None:
        """Go on on another socket, with replies that the client has not got."""
        assert self._resumption is not None
        assert self._segmenter is not None
        before, self._connection = self._connection, connection
        before.pass_to(_Nobody())
        before.close(CloseCode.NORMAL_CLOSURE, "the session was resumed on another connection")
        connection.pass_to(self)
        connection.mark_identified()
        ack = self._ack("session resumed")
        ack.resumed = True
        ack.received_seq = self._resumption.chunks.resume()
        ack.received_bytes = self._segmenter.held_bytes
        ack.cut_seq = self._resumption.chunks.cut
        ack.next_utterance_index = self._next_index
        connection.send(encode(ack))
        for message in (message for reply in replies for message in reply):
            connection.send_parts(message)
        owed, self._resumption.owed = self._resumption.owed, None
        if owed is not None:
            connection.send(owed)
        self._segmenter.start_pause(self._context.now_ns)
        if self._pause_timer is None and self._segmenter.deadline_ns is not None:
            self._watch_pause(self._segmenter.deadline_ns)

    def end_suspended(self, reason: Cancellation) -> None:
        """End, since there is no socket any more whose closing would do it."""
        self._end(reason)
        self._tell_closed(self)

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
        # restart their numbering at different points. Dropping by it would lose speech. Only what
        # a client says again after it has resumed is known by it.
        if self._resumption is None:
            self._add_audio(payload, is_final=chunk.is_final)
        elif not self._resumption.chunks.is_repeat(chunk.seq):
            try:
                self._add_audio(payload, is_final=chunk.is_final)
            finally:
                self._resumption.chunks.follow(chunk.seq, speaking=self._is_speaking)

    @property
    def _is_speaking(self) -> bool:
        assert self._segmenter is not None
        return self._segmenter.deadline_ns is not None

    def _add_audio(self, audio: bytes, *, is_final: bool) -> None:
        assert self._segmenter is not None
        try:
            cut = self._segmenter.add(audio, is_final, self._context.now_ns)
        finally:
            self._context.unfinished.hold(self, self._segmenter.held_bytes)
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
        if self._resumption is not None and not self._is_speaking:
            self._resumption.chunks.end()
        self._context.unfinished.hold(self, self._segmenter.held_bytes)
        if cut is None:
            deadline_ns = self._segmenter.deadline_ns
            if deadline_ns is not None:
                self._watch_pause(deadline_ns)
            return
        try:
            self._submit_cut(cut)
        except PeerError as error:
            self._context.codes.add_refused(error.code)
            self._tell(error)

    def _stop_pause(self) -> None:
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

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

    def give_up(self) -> None:
        """Drop the utterance being spoken: it takes room that there is not."""
        assert self._segmenter is not None
        self._segmenter.drop()
        self._context.counters.add("unfinished_given_up_total")
        error = busy("there is no room for long utterances and this one was dropped")
        self._context.codes.add_refused(error.code)
        self._tell(error)

    # --- the rest ------------------------------------------------------------------------

    def _heartbeat(self, message: ClientHeartbeat) -> None:
        self._connection.send(encode(ServerHeartbeat(message.session_id, self._context.now_ms)))

    def _tts_play_ended(self, _: TtsPlayEnded) -> None:
        self._context.counters.add("tts_play_ended_total")

    def _session_close(self, message: SessionClose) -> None:
        self._end(Cancellation.SESSION_CLOSED)
        self._connection.send(encode(SessionCloseAck(message.session_id)))
        self._connection.close(CloseCode.NORMAL_CLOSURE, "session closed")

    def _send(self, parts: Parts) -> None:
        if not self._closed:
            self._connection.send_parts(parts)

    def _reply(self, reply: Reply) -> None:
        """Send an utterance's outcome, or keep it until there is a socket."""
        if self._closed:
            return
        if self._resumption is not None:
            self._resuming.note(self._resumption, reply, sent=self._connection.is_open)
        for message in reply:
            self._connection.send_parts(message)

    def _tell(self, error: PeerError) -> None:
        """Send a refusal, which is an utterance's outcome where it names one."""
        message = error_of(error)
        if "utterance_index" in (error.details or {}):
            self._reply(((message,),))
            return
        if self._resumption is not None and self._resumption.is_suspended:
            self._resumption.owed = message
        self._connection.send(message)

    def _end(self, reason: Cancellation) -> None:
        """Free everything the session holds; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._pairing = None
        self._stop_pause()
        if self._utterances is not None:
            self._utterances.cancel_all(reason)
        self._context.unfinished.hold(self, 0)
        if self._row >= 0:
            self._rows.close(self._row)
        if self._resumption is not None:
            self._resuming.leave(self._resumption)

    def drain(self) -> None:
        """Close with 1012, once the jobs in flight are finished."""
        if self._utterances is None or self._is_suspended:
            self.shut_down()
        else:
            self._utterances.when_idle(self.shut_down)

    def shut_down(self) -> None:
        """Close with 1012 now."""
        if self._is_suspended:
            self.end_suspended(Cancellation.SHUTDOWN)
            return
        if not self._closed:
            self._connection.send(error_message(ErrorCode.SERVER_SHUTDOWN, SHUTTING_DOWN))
        self._connection.close(CloseCode.SERVICE_RESTART, "service restart")

    @property
    def _is_suspended(self) -> bool:
        return self._resumption is not None and self._resumption.is_suspended


class _Nobody:
    """Whom a socket talks to that its session has left."""

    def on_text(self, message: bytes) -> None:
        """Drop it."""

    def on_binary(self, message: bytes) -> None:
        """Drop it."""

    def on_closed(self) -> None:
        """There is nothing to end."""


_PAIRING_REFUSALS = {
    ErrorCode.INVALID_PAIRING_CODE: "the pairing code is wrong or has expired; ask for a new one",
    ErrorCode.RATE_LIMITED: "too many wrong pairing codes; try again in a minute",
}
