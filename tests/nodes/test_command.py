import asyncio
import sys
from pathlib import Path

import pytest
import uvloop

from scheduler.nodes.command import output_of, run_command
from scheduler.nodes.errors import CommandError
from tests.sdk.scripted_peer import run_async, until


def test_input_is_readable_by_name_on_every_loop() -> None:
    """Scripts open /dev/stdin, which fails where it is a socket."""
    for loop_factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(run_command(["cat", "/dev/stdin"], "héllo", 10)) == "héllo".encode()


@run_async
async def test_large_input_and_output_do_not_block() -> None:
    text = "x" * 1_000_000
    assert await run_command(["cat"], text, 10) == text.encode()


@run_async
async def test_a_failure_has_the_tools_last_words() -> None:
    with pytest.raises(CommandError, match="ended with 3: out of luck"):
        await run_command(["sh", "-c", "echo out of luck >&2; exit 3"], "", 10)


@run_async
async def test_no_output_for_text_is_a_failure() -> None:
    with pytest.raises(CommandError, match="ended with 0: quiet"):
        await run_command(["sh", "-c", "echo quiet >&2"], "text", 10)


@run_async
async def test_a_missing_tool_has_no_output() -> None:
    assert await output_of(["no-such-tool-here"]) is None
    assert await output_of(["false"]) is None
    assert await output_of(["echo", "here"]) == "here\n"


def is_running(pid_file: Path) -> bool:
    state = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@run_async
async def test_running_out_of_time_kills_children_of_the_tool_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    running = asyncio.create_task(run_command(["sh", "-c", script], "", 600))
    await until(pid_file.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not is_running(pid_file), "the end of the child")
    with pytest.raises(TimeoutError):
        await run_command([sys.executable, "-c", "import time; time.sleep(600)"], "", 0.05)
