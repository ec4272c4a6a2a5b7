"""How client commands run and end."""

import asyncio
import os
import signal

import pytest

from scheduler.cli_client import run_client, run_until_stopped


def test_the_result_of_the_work_is_returned() -> None:
    async def work() -> int:
        return 7

    assert run_client(work()) == 7


def test_sigterm_ends_the_work_as_planned() -> None:
    ended: list[str] = []

    async def serve() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    run_until_stopped(serve())
    assert ended == ["cleaned up"]


def test_what_goes_wrong_in_the_work_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_until_stopped(fail())


def test_ctrl_c_interrupts() -> None:
    async def serve() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run_client(serve())
