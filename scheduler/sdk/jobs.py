"""The jobs that a node runs: bounded by its capacity, fenced by attempt, cancellable.

assigned ──► waiting for a slot ──► handler ──► result sent
    └───────────┴──── job_cancel ──────┴──► cancelled, no result
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pybase64
import structlog
from msgspec import Raw, Struct
from msgspec.json import encode

from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import (
    RUNNING_JOBS_MAX,
    JobAssign,
    JobResult,
    NodeAsrPartial,
    NodeFailure,
    RunningJob,
)
from scheduler.sdk.errors import JobFailed

_log = structlog.get_logger(__name__)

Deliver = Callable[[JobResult], Awaitable[None]]
Notify = Callable[[NodeAsrPartial], Awaitable[None]]
SendNow = Callable[[NodeAsrPartial | JobResult], Awaitable[None]]
"""Sends what is worth nothing later: waits for no connection, drops it where there is none."""


class JobOutcome(Struct):
    """What a handler returns. `tts_audio` is empty where there is no speech."""

    text_asr: str = ""
    text_translated: str = ""
    tts_audio: bytes = b""
    tts_format: str = "pcm16"
    extra: dict[str, Any] | None = None


class Job:
    """One attempt at a job, as its handler sees it; `assign` is what is asked."""

    def __init__(self, assign: JobAssign, notify: Notify) -> None:
        self.assign = assign
        self._notify = notify

    async def partial(self, text: str, *, is_final: bool = False) -> None:
        """Tell the text recognised so far. It is dropped while the node is not connected."""
        assign = self.assign
        await self._notify(
            NodeAsrPartial(
                job_id=assign.job_id,
                node_id="",  # filled in by the node, whose id may change when it reconnects
                session_id=assign.session_id,
                utterance_index=assign.utterance_index,
                text=text,
                is_final=is_final,
                trace_id=assign.trace_id,
            )
        )


Handler = Callable[[Job], Awaitable[JobOutcome]]


class JobRunner:
    """Runs at most `capacity` handlers at a time."""

    def __init__(
        self, handler: Handler, capacity: int, deliver: Deliver, send_now: SendNow
    ) -> None:
        assert capacity >= 1
        self.accepting = True
        self._handler = handler
        self._capacity = capacity
        self._deliver = deliver
        self._send_now = send_now
        # A cancelled handler may take its time to end while the scheduler has already given its
        # slot to another job: that job waits here rather than being refused.
        self._slots = asyncio.Semaphore(capacity)
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Jobs that the scheduler waits for."""
        return len(self._running)

    def held(self) -> list[RunningJob]:
        """Return the attempts that are under way, for a scheduler that lost sight of the node.

        Only the latest RUNNING_JOBS_MAX: it takes no more.
        """
        held = [RunningJob(job_id, attempt_id) for job_id, attempt_id in self._running]
        return held[-RUNNING_JOBS_MAX:]

    async def assign(self, assign: JobAssign) -> None:
        """Start a job, or answer at once that it can't be run here."""
        key = (assign.job_id, assign.attempt_id)
        if key in self._running:
            return
        if not self.accepting:
            await self._refuse(assign, ErrorCode.NODE_UNAVAILABLE, "the node is shutting down")
        elif len(self._running) >= self._capacity:
            message = f"the node runs {self._capacity} jobs already, which is its capacity"
            await self._refuse(assign, ErrorCode.NODE_OVERLOADED, message)
        else:
            task = asyncio.create_task(self._run(assign))
            self._running[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self, job_id: str) -> None:
        """Cancel all attempts at a job; no result is sent for them, whatever the handler does."""
        for key in [key for key in self._running if key[0] == job_id]:
            self._running.pop(key).cancel()

    async def finish(self, timeout_seconds: float) -> None:
        """Take no more jobs, give those that run some time, then cancel what is left."""
        self.accepting = False
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_seconds)
        self._running.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _refuse(self, assign: JobAssign, code: ErrorCode, message: str) -> None:
        # Not delivered as results are: whoever reads the socket comes here, and would wait for the
        # next connection, which it alone makes. The scheduler gives up with the connection all
        # jobs that the node doesn't name when it comes back.
        await self._send_now(_result(assign, NodeFailure(code, message), 0.0))

    async def _run(self, assign: JobAssign) -> None:
        key = (assign.job_id, assign.attempt_id)
        task = asyncio.current_task()
        try:
            async with self._slots:
                started_ns = time.monotonic_ns()
                outcome = await self._outcome(assign)
                elapsed_ms = (time.monotonic_ns() - started_ns) / 1e6
                if self._running.get(key) is task:
                    await self._deliver(_result(assign, outcome, elapsed_ms))
        except TimeoutError:
            _log.warning("result dropped, no connection", job_id=assign.job_id)
        finally:
            if self._running.get(key) is task:
                del self._running[key]

    async def _outcome(self, assign: JobAssign) -> JobOutcome | NodeFailure:
        try:
            return await self._handler(Job(assign, self._send_now))
        except JobFailed as error:
            details = Raw(encode(error.details))
            return NodeFailure(error.code, error.message, details)
        except Exception as error:
            _log.exception("handler failed", job_id=assign.job_id)
            return NodeFailure(ErrorCode.INTERNAL_ERROR, f"{type(error).__name__} in the node")


def _result(
    assign: JobAssign, outcome: JobOutcome | NodeFailure, processing_time_ms: float
) -> JobResult:
    result = JobResult(
        job_id=assign.job_id,
        attempt_id=assign.attempt_id,
        node_id="",
        session_id=assign.session_id,
        utterance_index=assign.utterance_index,
        success=isinstance(outcome, JobOutcome),
        trace_id=assign.trace_id,
        processing_time_ms=processing_time_ms,
        group_id=assign.group_id,
        part_index=assign.part_index,
    )
    if isinstance(outcome, NodeFailure):
        result.error = outcome
        return result
    result.text_asr = outcome.text_asr
    result.text_translated = outcome.text_translated
    result.tts_audio = Raw(b'"%b"' % pybase64.b64encode(outcome.tts_audio))
    result.tts_format = outcome.tts_format
    if outcome.extra is not None:
        result.extra = Raw(encode(outcome.extra))
    return result
