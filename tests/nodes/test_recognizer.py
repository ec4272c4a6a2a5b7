import asyncio
import os
import signal
from pathlib import Path

import pytest

from scheduler.nodes.audio import read_wav
from scheduler.nodes.errors import RecognizerError
from scheduler.nodes.recognizer import RecognizerPool
from tests.sdk.scripted_peer import run_async

SAMPLES = Path(__file__).parents[2] / "samples"


async def unheard(_: str) -> None:
    pass


def sentence() -> bytes:
    return read_wav((SAMPLES / "goforward.wav").read_bytes())[0]


def workers() -> list[int]:
    """Pids of this process's recognisers."""
    return [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
        if b"recognizer_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@run_async
async def test_a_pool_recognises_recovers_and_ends_its_workers() -> None:
    partials: list[str] = []

    async def note(text: str) -> None:
        partials.append(text)

    async with RecognizerPool(1) as pool:
        assert await pool.recognize(sentence(), note) == "go forward ten meters"
        assert partials

        first = workers()
        begun = asyncio.Event()

        async def begin(_: str) -> None:
            begun.set()

        cancelled = asyncio.create_task(pool.recognize(sentence(), begin))
        await begun.wait()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert workers() == [], "cancelling stops the work at once"

        assert await pool.recognize(sentence(), unheard) == "go forward ten meters"
        second = workers()
        assert second != first

        async def kill(_: str) -> None:
            os.kill(second[0], signal.SIGKILL)

        with pytest.raises(RecognizerError, match="died"):
            await pool.recognize(sentence(), kill)
        assert await pool.recognize(sentence(), unheard) == "go forward ten meters"
    assert workers() == []
