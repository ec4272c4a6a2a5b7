"""The load of jobs: short utterances from many sessions at a steady rate, whatever comes back."""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import msgspec
import uvloop

from native_bench.readers_plan import (
    Call,
    JobTask,
    Window,
    arrivals,
    blocks,
    send_calls,
    sleep_until,
)
from scheduler.sdk.client import SessionClient
from scheduler.sdk.errors import SdkError

_RESULT_SECONDS_MAX = 10.0


async def _speak(session: SessionClient, audio: bytes, call: Call) -> None:
    try:
        index = await session.send_utterance(audio)
        await session.result_for(index, _RESULT_SECONDS_MAX)
    except (SdkError, TimeoutError) as failure:
        call.error = str(failure) or type(failure).__name__
    call.done_ns = time.monotonic_ns()


async def _load(
    sessions: list[SessionClient], task: JobTask, windows: list[Window], calls: list[Call]
) -> None:
    audio = bytes(task.audio_bytes)
    dues = arrivals(task.seed, task.jobs_per_second, windows[0].begin_ns, windows[-1].until_ns)
    async with asyncio.TaskGroup() as group:
        for number, due_ns in enumerate(dues):
            await sleep_until(due_ns)
            call = Call(due_ns, time.monotonic_ns())
            calls.append(call)
            group.create_task(_speak(sessions[number % len(sessions)], audio, call))


async def run(task: JobTask) -> None:
    """Connect, and speak through each block of windows."""
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                SessionClient.connect(task.url, src_lang="en", tgt_lang="es")
            )
            for _ in range(task.sessions)
        ]
        async for windows in blocks():
            await _load(sessions, task, windows, calls)
    send_calls(calls)


if __name__ == "__main__":
    uvloop.run(run(msgspec.json.decode(sys.argv[1], type=JobTask)))
