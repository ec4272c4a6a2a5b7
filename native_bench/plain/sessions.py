"""The plain scheduler's sessions, and their jobs in the order of their utterances."""

import asyncio
import bisect
import time
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from native_bench.plain.messages import JobResult, Utterance, encode
from native_bench.plain.nodes import Node
from scheduler.protocol.session import SessionInit, UiEvent


@dataclass(slots=True)
class Job:
    """One utterance on its way."""

    job_id: str
    session: "Session"
    utterance: Utterance
    trace_id: str
    node: Node
    timer: asyncio.TimerHandle | None = None
    accepted_at: float = field(default_factory=time.monotonic)
    replies: list[bytes] | None = None
    """What the session gets, once the job has ended."""

    def event(self, name: str, error_code: str = "", hint: str = "") -> bytes:
        """Return a `ui_event` of this job."""
        event = UiEvent(
            self.trace_id,
            self.session.session_id,
            self.job_id,
            self.utterance.utterance_index,
            name,
            "error" if error_code else "ok",
            elapsed_ms=round((time.monotonic() - self.accepted_at) * 1e3),
        )
        if error_code:
            event.error_code, event.hint = error_code, hint
        return encode(event)


@dataclass(slots=True)
class Session:
    """One client."""

    session_id: str
    connection: ServerConnection
    init: SessionInit
    trace_id: str
    jobs: dict[int, Job] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    def open(self, job: Job) -> None:
        """Hold back the results of later utterances until this job has ended."""
        index = job.utterance.utterance_index
        self.jobs[index] = job
        bisect.insort(self.order, index)

    async def send_due(self) -> None:
        """Send the replies whose turn it is."""
        while self.order and (replies := self.jobs[self.order[0]].replies) is not None:
            del self.jobs[self.order.pop(0)]
            for reply in replies:
                await self.connection.send(reply, text=True)


class Statistics:
    """Counted while jobs pass, for who asks."""

    def __init__(self) -> None:
        self.accepted_total = self.completed_total = self.failed_total = self.refused_total = 0
        self.languages: dict[tuple[str, str], int] = {}
        self.services: dict[str, int] = {}
        self.latency_seconds_total = 0.0

    def accepted(self, utterance: Utterance, services: frozenset[str]) -> None:
        """Count a job that got a node."""
        self.accepted_total += 1
        pair = (utterance.src_lang, utterance.tgt_lang)
        self.languages[pair] = self.languages.get(pair, 0) + 1
        for service in services:
            self.services[service] = self.services.get(service, 0) + 1

    def ended(self, job: Job, result: JobResult) -> None:
        """Count a job that has ended on its node."""
        if result.success:
            self.completed_total += 1
        else:
            self.failed_total += 1
        self.latency_seconds_total += time.monotonic() - job.accepted_at
