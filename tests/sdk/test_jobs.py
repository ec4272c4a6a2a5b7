"""The runner alone; tests/sdk/test_node.py has it on the wire."""

import asyncio

import pytest
from msgspec import Raw

from scheduler.protocol.node import JobAssign, JobResult, NodeAsrPartial
from scheduler.protocol.session import Pipeline
from scheduler.sdk import jobs as module
from scheduler.sdk.jobs import Job, JobOutcome, JobRunner
from tests.sdk.scripted_peer import run_async, until


def assign(job_id: str, attempt_id: int = 1) -> JobAssign:
    return JobAssign(
        job_id=job_id,
        attempt_id=attempt_id,
        session_id="s",
        utterance_index=0,
        src_lang="en",
        tgt_lang="es",
        pipeline=Pipeline(),
        audio=b"",
        audio_format="pcm16",
        sample_rate=16_000,
        trace_id="t",
    )


class Desk:
    """Takes results, as soon as it is open."""

    def __init__(self) -> None:
        self.results: list[JobResult] = []
        self.refusals: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, result: JobResult) -> None:
        await self.open.wait()
        self.results.append(result)

    async def send_now(self, message: NodeAsrPartial | JobResult) -> None:
        """Take what waits for no connection: of what these tests do, refusals."""
        assert isinstance(message, JobResult)
        self.refusals.append((message.job_id, message.error.code if message.error else ""))

    @property
    def job_ids(self) -> list[str]:
        return [result.job_id for result in self.results]


@run_async
async def test_two_attempts_at_a_job_are_two_results() -> None:
    desk = Desk()

    async def handler(job: Job) -> JobOutcome:
        return JobOutcome(extra={"attempt": job.assign.attempt_id})

    runner = JobRunner(handler, 2, desk.deliver, desk.send_now)
    await runner.assign(assign("a", 1))
    await runner.assign(assign("a", 2))
    await until(lambda: len(desk.results) == 2)
    assert [result.extra for result in desk.results] == [
        Raw(b'{"attempt":1}'),
        Raw(b'{"attempt":2}'),
    ]


@run_async
async def test_a_job_holds_its_slot_until_its_result_is_sent_and_refusals_do_not_wait() -> None:
    desk = Desk()
    desk.open.clear()

    async def handler(_: Job) -> JobOutcome:
        return JobOutcome()

    runner = JobRunner(handler, 1, desk.deliver, desk.send_now)
    await runner.assign(assign("a"))
    async with asyncio.timeout(10):
        await runner.assign(assign("b"))
    assert runner.running == 1
    assert desk.refusals == [("b", "NODE_OVERLOADED")]
    desk.open.set()
    await until(lambda: runner.running == 0)
    assert desk.job_ids == ["a"]


@run_async
async def test_of_many_jobs_the_latest_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNNING_JOBS_MAX", 2)
    desk = Desk()

    async def handler(_: Job) -> JobOutcome:
        await asyncio.Event().wait()
        return JobOutcome()

    runner = JobRunner(handler, 3, desk.deliver, desk.send_now)
    for number in range(3):
        await runner.assign(assign(f"job-{number}"))
    assert [held.job_id for held in runner.held()] == ["job-1", "job-2"]
    await runner.finish(0)


@run_async
async def test_finishing_waits_then_cancels_and_takes_nothing_new() -> None:
    desk = Desk()
    cancelled: list[str] = []
    quick = asyncio.Event()

    async def handler(job: Job) -> JobOutcome:
        try:
            await (quick if job.assign.job_id == "quick" else asyncio.Event()).wait()
        except asyncio.CancelledError:
            cancelled.append(job.assign.job_id)
            raise
        return JobOutcome()

    runner = JobRunner(handler, 2, desk.deliver, desk.send_now)
    await runner.assign(assign("quick"))
    await runner.assign(assign("slow"))
    asyncio.get_running_loop().call_soon(quick.set)
    await runner.finish(0.05)
    assert desk.job_ids == ["quick"]
    assert cancelled == ["slow"]
    await runner.assign(assign("late"))
    assert desk.refusals == [("late", "NODE_UNAVAILABLE")]


@run_async
async def test_a_result_that_can_not_be_sent_frees_its_slot() -> None:
    async def undeliverable(_: JobResult) -> None:
        raise TimeoutError

    async def handler(_: Job) -> JobOutcome:
        return JobOutcome()

    runner = JobRunner(handler, 1, undeliverable, Desk().send_now)
    await runner.assign(assign("a"))
    await until(lambda: runner.running == 0)


def test_a_runner_without_slots_is_a_mistake() -> None:
    desk_methods = Desk
    with pytest.raises(AssertionError):
        JobRunner(None, 0, desk_methods.deliver, desk_methods.send_now)  # type: ignore[arg-type]
