"""The plain scheduler: a coroutine for each socket, which reads messages and acts on them."""

import asyncio
import secrets
import time
import uuid
from http import HTTPStatus
from typing import cast

from msgspec import DecodeError, ValidationError
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from native_bench.plain.messages import (
    JobAssign,
    JobResult,
    TranslationResult,
    Utterance,
    encode,
    node_decoder,
    session_decoder,
)
from native_bench.plain.nodes import Need, Node, NodeMap, features_of, node_of
from native_bench.plain.sessions import Job, Session, Statistics
from scheduler.protocol.codes import ErrorCode, hint
from scheduler.protocol.node import JobCancel, NodeRegister, NodeRegisterAck
from scheduler.protocol.node import NodeStatus as NodeStatusMessage
from scheduler.protocol.session import (
    ClientHeartbeat,
    ErrorMessage,
    Pipeline,
    ServerHeartbeat,
    SessionClose,
    SessionCloseAck,
    SessionInit,
    SessionInitAck,
)

SERVICES = frozenset(("node-inference", "nmt-m2m100", "piper-tts"))
"""What a job needs of its node: the core services, as they are called by default."""

JOB_SECONDS_MAX = 30.0
RETRY_AFTER_MS = 1_000

_PIPELINE = Pipeline(use_asr=True, use_nmt=True, use_tts=True)


class Server:
    """All of its state."""

    def __init__(self) -> None:
        self.nodes = NodeMap()
        self.jobs: dict[str, Job] = {}
        self.statistics = Statistics()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def route(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse paths that there are not."""
        if request.path in {"/ws/session", "/ws/node"}:
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one socket until it closes."""
        path = cast(Request, connection.request).path
        try:
            if path == "/ws/session":
                await self._serve_session(connection)
            else:
                await self._serve_node(connection)
        except ConnectionClosed:
            pass

    # --- sessions ------------------------------------------------------------------------

    async def _serve_session(self, connection: ServerConnection) -> None:
        session: Session | None = None
        try:
            while True:
                try:
                    message = session_decoder.decode(await connection.recv(decode=False))
                except (DecodeError, ValidationError) as error:
                    await _refuse(connection, ErrorCode.INVALID_MESSAGE, str(error))
                    continue
                if isinstance(message, SessionInit):
                    session = await self._open_session(connection, message)
                elif session is None or message.session_id != session.session_id:
                    await _refuse(connection, ErrorCode.INVALID_SESSION, "not your session")
                elif isinstance(message, Utterance):
                    await self._submit(session, message)
                elif isinstance(message, ClientHeartbeat):
                    await _send(connection, ServerHeartbeat(session.session_id, _now_ms()))
                elif isinstance(message, SessionClose):
                    await _send(connection, SessionCloseAck(session.session_id))
                    return
        finally:
            if session is not None:
                await self._cancel_all(session)

    async def _open_session(self, connection: ServerConnection, init: SessionInit) -> Session:
        session_id = f"sess-{secrets.token_hex(8).upper()}"
        session = Session(session_id, connection, init, init.trace_id or str(uuid.uuid4()))
        await _send(
            connection, SessionInitAck(session_id, None, "session created", session.trace_id)
        )
        return session

    async def _submit(self, session: Session, utterance: Utterance) -> None:
        job_id = f"job-{secrets.token_hex(8).upper()}"
        features = features_of(utterance.features or session.init.features)
        need = Need(SERVICES, utterance.src_lang, utterance.tgt_lang, features)
        node = await self.nodes.reserve(need, job_id)
        if node is None:
            self.statistics.refused_total += 1
            await _refuse(
                session.connection,
                ErrorCode.SERVER_BUSY,
                "no node is free",
                {
                    "utterance_index": utterance.utterance_index,
                    "retry_after_ms": RETRY_AFTER_MS,
                },
            )
            return
        job = Job(job_id, session, utterance, utterance.trace_id or session.trace_id, node)
        job.timer = self._loop.call_later(JOB_SECONDS_MAX, self._time_out, job)
        self.jobs[job_id] = job
        session.open(job)
        self.statistics.accepted(utterance, SERVICES)
        try:
            await _send(node.connection, _assign(job))
        except ConnectionClosed:
            return  # the node's own coroutine fails its jobs
        await session.connection.send(job.event("DISPATCHED"), text=True)

    async def _cancel_all(self, session: Session) -> None:
        for job in tuple(session.jobs.values()):
            if job.replies is None and await self._end(job):
                try:
                    await _send(job.node.connection, JobCancel(job.job_id, job.trace_id))
                except ConnectionClosed:
                    continue

    def _time_out(self, job: Job) -> None:
        task = self._loop.create_task(self._fail(job, ErrorCode.JOB_TIMEOUT, "no result in time"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- nodes ---------------------------------------------------------------------------

    async def _serve_node(self, connection: ServerConnection) -> None:
        node: Node | None = None
        try:
            while True:
                try:
                    message = node_decoder.decode(await connection.recv(decode=False))
                except (DecodeError, ValidationError) as error:
                    await _refuse(connection, ErrorCode.INVALID_MESSAGE, str(error))
                    continue
                if isinstance(message, NodeRegister):
                    node = await self._register(connection, message)
                elif node is None:
                    await _refuse(connection, ErrorCode.INVALID_MESSAGE, "register first")
                elif isinstance(message, JobResult):
                    await self._finish(node, message)
                elif await self.nodes.update(node, message):
                    await _send_status(node, "ready")
        finally:
            if node is not None:
                for job_id in tuple(await self.nodes.remove(node)):
                    await self._fail(
                        self.jobs[job_id], ErrorCode.NODE_UNAVAILABLE, "the node went away"
                    )

    async def _register(self, connection: ServerConnection, register: NodeRegister) -> Node | None:
        node_id = register.node_id or f"node-{secrets.token_hex(8).upper()}"
        node = node_of(register, node_id, connection)
        if not await self.nodes.add(node):
            await _refuse(connection, ErrorCode.NODE_ID_CONFLICT, f"{node_id} is connected")
            return None
        await _send(connection, NodeRegisterAck(node_id, "registered", "registering"))
        return node

    async def _finish(self, node: Node, result: JobResult) -> None:
        job = self.jobs.get(result.job_id)
        if job is None or job.node is not node or not await self._end(job):
            return  # it timed out, or its session has gone
        self.statistics.ended(job, result)
        if result.success:
            job.replies = [
                *([job.event("ASR_FINAL")] if result.text_asr else []),
                *([job.event("NMT_DONE")] if result.text_translated else []),
                encode(_translation(job, result)),
            ]
        else:
            code = result.error.code if result.error else ErrorCode.INTERNAL_ERROR
            text = result.error.message if result.error else ""
            job.replies = _failure(job, code, text)
        await _send_due(job.session)

    # --- ends ----------------------------------------------------------------------------

    async def _fail(self, job: Job, code: str, text: str) -> None:
        if await self._end(job):
            self.statistics.failed_total += 1
            job.replies = _failure(job, code, text)
            await _send_due(job.session)

    async def _end(self, job: Job) -> bool:
        """Free what the job holds; return False where it has ended before."""
        if self.jobs.pop(job.job_id, None) is None:
            return False
        if job.timer is not None:
            job.timer.cancel()
        await self.nodes.release(job.node, job.job_id)
        return True


async def _send(connection: ServerConnection, message: object) -> None:
    await connection.send(encode(message), text=True)


async def _send_due(session: Session) -> None:
    try:
        await session.send_due()
    except ConnectionClosed:
        return  # the session's own coroutine cancels its jobs


async def _send_status(node: Node, status: str) -> None:
    await _send(node.connection, NodeStatusMessage(node.node_id, status, _now_ms() // 1_000))


async def _refuse(
    connection: ServerConnection, code: str, text: str, details: dict[str, object] | None = None
) -> None:
    await _send(connection, ErrorMessage(code, text, details or {}))


def _assign(job: Job) -> JobAssign:
    utterance = job.utterance
    return JobAssign(
        job_id=job.job_id,
        attempt_id=1,
        session_id=job.session.session_id,
        utterance_index=utterance.utterance_index,
        src_lang=utterance.src_lang,
        tgt_lang=utterance.tgt_lang,
        pipeline=job.session.init.pipeline or _PIPELINE,
        audio=utterance.audio,
        audio_format=utterance.audio_format,
        sample_rate=utterance.sample_rate,
        trace_id=job.trace_id,
        features=utterance.features,
    )


def _translation(job: Job, result: JobResult) -> TranslationResult:
    message = TranslationResult(
        session_id=job.session.session_id,
        utterance_index=job.utterance.utterance_index,
        job_id=job.job_id,
        trace_id=job.trace_id,
        text_asr=result.text_asr or "",
        text_translated=result.text_translated or "",
        tts_audio=result.tts_audio or "",
        tts_format=result.tts_format or "pcm16",
    )
    if result.extra is not None:
        message.extra = result.extra
    return message


def _failure(job: Job, code: str, text: str) -> list[bytes]:
    details = {"job_id": job.job_id, "utterance_index": job.utterance.utterance_index}
    known = ErrorCode(code) if code in set(ErrorCode) else ErrorCode.INTERNAL_ERROR
    return [job.event("ERROR", code, hint(known)), encode(ErrorMessage(code, text, details))]


def _now_ms() -> int:
    return time.time_ns() // 10**6
