"""The utterances of one session: each becomes a job, and each job's outcome becomes messages.

utterance ──► lease (a repeat is no second job) ──► job_assign head ──► JobDesk.accept
outcome   ──► Orderer (results leave in utterance order) ──► events and result
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from scheduler.errors import PeerError
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.job_log import JobLog
from scheduler.gateway.jobs import Job, JobDesk
from scheduler.gateway.lease import Lease, LeaseKey, Leases, default_key, request_key
from scheduler.gateway.messages import SHUTTING_DOWN, busy, encode, error_message, jittered
from scheduler.gateway.order import Orderer
from scheduler.gateway.shares import share_of
from scheduler.gateway.splice import (
    ResultTail,
    build_job_assign,
    given_features,
    pipeline_stages,
    result_head,
)
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import ErrorCode, hint
from scheduler.protocol.ids import NO_NODE, wire_job_id
from scheduler.protocol.node import JobAssignHead
from scheduler.protocol.records import Failed
from scheduler.protocol.requirements import STAGES, requirement_of
from scheduler.protocol.session import AsrPartial, SessionInit, UiEvent, Utterance

_NS_PER_MS = 1_000_000
_STAGES_MASK = (1 << len(STAGES)) - 1
_LEASES_MAX = 4_096
"""Requests remembered per session. At a client's fastest more may come within a lease; then the
oldest finished ones are forgotten, so that one session can't hold more than about a megabyte."""

Parts = Sequence[bytes]
Value = TypeVar("Value")


class PartialBody(Struct):
    """Recognised text on its way between gateways."""

    text: str
    is_final: bool


class Speech(NamedTuple):
    """One utterance, ready to become a job. `audio` is JSON text."""

    utterance_index: int
    audio: bytes
    audio_format: str
    sample_rate: int
    src_lang: str
    tgt_lang: str
    trace_id: str
    given: Utterance | SessionInit
    """Where the optional fields come from first; the session's own fill the rest."""
    lease_key: LeaseKey | None
    read_ns: int | None
    """When the last of it was read from the socket; None where a pause ended it."""


class Completed(NamedTuple):
    """A job that ended with a result, and what the session is to be sent of it."""

    job: Job
    messages: list[Parts]


class SessionIdentity(NamedTuple):
    """Who speaks."""

    session_id: str
    trace_id: str
    init: SessionInit
    paired: int
    tenant: str
    """That of its token, else as it says itself; "" for none."""


class Utterances:
    """All unfinished jobs of one session, and the order of their results."""

    def __init__(
        self,
        context: GatewayContext,
        desk: JobDesk,
        identity: SessionIdentity,
        send: Callable[[Parts], None],
        reply: Callable[[Sequence[Parts]], None],
    ) -> None:
        """`send` is for what tells of progress, `reply` for an outcome and the events with it."""
        self._context = context
        self._desk = desk
        self._identity = identity
        self._send = send
        self._reply = reply
        self._log = JobLog(context, identity.session_id)
        self._pipeline = pipeline_stages(identity.init.pipeline)
        self._features = given_features(identity.init.features)
        self._requirement = requirement_of(self._pipeline, self._features)
        self._jobs: dict[int, Job] = {}
        self._jobs_max = context.config.limits.jobs_per_session_max
        self._audio_bytes = 0
        """Of all unfinished jobs."""
        self._audio_bytes_max = context.config.limits.audio_bytes_per_session_max
        self._share = share_of(
            context.config.scheduler.fairness, identity.tenant, identity.session_id
        )
        self._orderer: Orderer[Completed] = Orderer()
        binding = context.config.scheduler.task_binding
        self._leases = Leases(round(binding.lease_seconds * 1e9), _LEASES_MAX)
        self._spread_ns = round(binding.spread_window_seconds * 1e9)
        self._spread = binding.spread_enabled
        self._last_node = NO_NODE
        self._last_node_ns = 0
        self._on_idle: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once no job is unfinished: now, or with the last outcome."""
        self._on_idle = callback
        if not self._jobs:
            callback()

    def key_of(self, utterance: Utterance, trace_id: str) -> LeaseKey:
        """Return the idempotency key of an utterance."""
        if utterance.request_id is not None:
            return request_key(utterance.request_id)
        return default_key(
            self._identity.session_id, utterance.utterance_index, utterance.tgt_lang, trace_id
        )

    def submit(self, speech: Speech) -> None:
        """Make the utterance a job, unless it repeats one; raise PeerError where it can't be."""
        counters = self._context.counters
        key = speech.lease_key
        lease = self._leases.find(key, self._context.now_ns) if key is not None else None
        if lease is not None:  # also while nothing new is taken
            counters.add("jobs_repeated_total")
            self._answer_repeat(lease, speech)
            return
        try:
            requirement = self._check(speech)
            job = self._desk.draft(
                self,
                speech.utterance_index,
                speech.trace_id,
                requirement,
                paired=self._identity.paired,
                avoid=self._avoid(),
                share=self._share,
            )
            self._accept(job, speech)
        except PeerError as error:
            counters.add("jobs_refused_total")
            details = {**(error.details or {}), "utterance_index": speech.utterance_index}
            raise PeerError(error.code, error.message, details) from None

    def _check(self, speech: Speech) -> int:
        if self._context.draining:
            raise PeerError(ErrorCode.SERVER_SHUTDOWN, SHUTTING_DOWN)
        if len(self._orderer) >= self._jobs_max:
            raise busy(
                f"{self._jobs_max} jobs of this session are unfinished "
                "(limits.jobs_per_session_max)"
            )
        if self._jobs and self._audio_bytes + len(speech.audio) > self._audio_bytes_max:
            raise busy(
                f"unfinished jobs of this session hold {self._audio_bytes} bytes of audio "
                "(limits.audio_bytes_per_session_max)"
            )
        requirement = self._requirement
        if speech.given.features is not None:
            requirement = requirement_of(self._pipeline, speech.given.features)
        if not requirement & _STAGES_MASK:
            raise PeerError(
                ErrorCode.INVALID_MESSAGE,
                "the session's pipeline uses no stage; turn on use_asr, use_nmt or use_tts",
            )
        return requirement

    def _avoid(self) -> int:
        recent = self._context.now_ns - self._last_node_ns < self._spread_ns
        return self._last_node if self._spread and recent else NO_NODE

    def _accept(self, job: Job, speech: Speech) -> None:
        self._desk.accept(job, self._head(job, speech))
        if speech.read_ns is not None:
            self._context.stages.receive.record(job.accepted_ns - speech.read_ns)
        if speech.lease_key is not None:
            self._leases.add(speech.lease_key, job.key, job.accepted_ns)
            job.lease_key = speech.lease_key
        job.audio_bytes = len(speech.audio)
        self._audio_bytes += job.audio_bytes
        self._jobs[job.key] = job
        self._orderer.open(speech.utterance_index, job.key)

    def _head(self, job: Job, speech: Speech) -> bytes:
        init, given = self._identity.init, speech.given
        features = self._features if given.features is None else given_features(given.features)
        head = JobAssignHead(
            job_id=job.wire_id,
            session_id=self._identity.session_id,
            utterance_index=speech.utterance_index,
            src_lang=speech.src_lang,
            tgt_lang=speech.tgt_lang,
            dialect=_first(given.dialect, init.dialect),
            features=features,
            pipeline=self._pipeline,
            audio_format=speech.audio_format,
            sample_rate=speech.sample_rate,
            mode=_first(given.mode, init.mode),
            lang_a=_first(given.lang_a, init.lang_a),
            lang_b=_first(given.lang_b, init.lang_b),
            auto_langs=_first(given.auto_langs, init.auto_langs),
            enable_streaming_asr=_first(given.enable_streaming_asr, init.enable_streaming_asr),
            partial_update_interval_ms=_first(
                given.partial_update_interval_ms, init.partial_update_interval_ms
            ),
            trace_id=speech.trace_id,
        )
        return build_job_assign(head, speech.audio)

    def cancel_all(self, reason: Cancellation) -> None:
        """The session is over: nobody waits for its jobs."""
        for job in self._jobs.values():
            self._desk.cancel(job, reason)
            self._log.ended(job, "cancelled", reason.value)
        self._jobs.clear()
        self._audio_bytes = 0

    # --- outcomes ------------------------------------------------------------------------

    def job_dispatched(self, job: Job) -> None:
        """Tell the session; called for the first attempt only."""
        self._last_node = job.node
        self._last_node_ns = self._context.now_ns
        self._send((self._event(job, "DISPATCHED"),))

    def job_partial(self, job: Job, message: bytes) -> None:
        """Send recognised text."""
        body = msgspec.json.decode(message, type=PartialBody)
        partial = AsrPartial(
            self._identity.session_id,
            job.utterance_index,
            job.wire_id,
            body.text,
            body.is_final,
            job.trace_id,
        )
        self._send((encode(partial),))

    def job_completed(self, job: Job, tail: ResultTail) -> None:
        """Send the events and the result, once no earlier utterance is open."""
        self._log.ended(job, "completed")
        messages: list[Parts] = []
        if tail.has_asr:
            messages.append((self._event(job, "ASR_FINAL"),))
        if tail.has_translation:
            messages.append((self._event(job, "NMT_DONE"),))
        head = result_head(
            self._identity.session_id, job.utterance_index, job.wire_id, job.trace_id
        )
        messages.append((head, tail.body))
        self._finish(job, [Completed(job, messages)])

    def job_failed(self, job: Job, failed: Failed) -> None:
        """Tell the session why, and let go what the utterance held back."""
        self._log.ended(job, "failed", failed.code)
        event = self._event(job, "ERROR", failed.code)
        self._reply(((event,), (_error(job, failed),)))
        self._finish(job, None, failed.code)

    def _finish(self, job: Job, result: list[Completed] | None, error_code: str = "") -> None:
        del self._jobs[job.key]
        self._audio_bytes -= job.audio_bytes
        if job.lease_key is not None:
            self._end_lease(job.lease_key, error_code)
        for completed in self._orderer.close(job.key, result):
            self._release(completed)
        if self._on_idle is not None and not self._jobs:
            self._on_idle()

    def _release(self, completed: Completed) -> None:
        stages, now_ns = self._context.stages, self._context.now_ns
        stages.order.record(now_ns - completed.job.delivered_ns)
        stages.end_to_end.record(now_ns - completed.job.accepted_ns)
        self._reply(completed.messages)

    def _end_lease(self, key: LeaseKey, error_code: str) -> None:
        if error_code == ErrorCode.SERVER_BUSY:
            self._leases.forget(key)  # it was asked to try again
        else:
            self._leases.finish(key, not error_code, error_code)
        self._leases.expire(self._context.now_ns)

    def _answer_repeat(self, lease: Lease, speech: Speech) -> None:
        """Say how the job of a repeated request ended; while it runs, its own events will."""
        if lease.ok is None:
            return
        event = UiEvent(
            speech.trace_id,
            self._identity.session_id,
            wire_job_id(self._context.epoch, lease.job),
            speech.utterance_index,
            "NMT_DONE" if lease.ok else "ERROR",
            "ok" if lease.ok else "error",
            error_code=lease.error_code or UNSET,
            hint=self._hint(lease.error_code),
        )
        self._send((encode(event),))

    def _hint(self, error_code: str) -> str | UnsetType:
        """Return the sentence for people, in the operator's language where there is one."""
        if not error_code:
            return UNSET
        own = self._context.config.server.hints
        return own.get(error_code) or hint(error_code)  # type: ignore[call-overload]  # a StrEnum

    def _event(
        self,
        job: Job,
        name: Literal["DISPATCHED", "ASR_FINAL", "NMT_DONE", "ERROR"],
        error_code: str = "",
    ) -> bytes:
        event = UiEvent(
            job.trace_id,
            self._identity.session_id,
            job.wire_id,
            job.utterance_index,
            name,
            "error" if error_code else "ok",
            (self._context.now_ns - job.accepted_ns) // _NS_PER_MS,
        )
        if error_code:
            event.error_code = error_code
            event.hint = self._hint(error_code)
        return encode(event)


class _NodesError(Struct):
    """A node's own error; its details are passed on unread."""

    code: str
    message: str
    details: Raw = Raw(b"null")


def _error(job: Job, failed: Failed) -> bytes:
    """Return the `error` of a failed job: the node's own where it gave one."""
    code, message = failed.code, failed.message
    details: dict[str, Any] = {"job_id": job.wire_id, "utterance_index": job.utterance_index}
    if failed.retry_after_ms:
        details["retry_after_ms"] = jittered(failed.retry_after_ms)
    if failed.exclusions:
        details["excluded"] = failed.exclusions
    if failed.error:
        own = msgspec.json.decode(failed.error, type=_NodesError)
        code, message = own.code, own.message
        if own.details != Raw(b"null"):
            details["node_details"] = own.details
    return error_message(code, message, details)


def _first(given: Value | None, default: Value | None) -> Value | None:
    return default if given is None else given
