"""Runs a command-line tool for one job: bounded in time, killed with the job."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from subprocess import PIPE

from scheduler.nodes.errors import CommandError

_STDERR_CHARS_MAX = 200


async def run_command(argv: Sequence[str], text: str, timeout_seconds: float) -> bytes:
    """Feed `text` to a tool's input and return its output, which must not be empty if text isn't.

    Raises CommandError, and TimeoutError past `timeout_seconds`. The tool never outlives the call.
    """
    # A file as input: uvloop's "pipe" is a socket, which scripts that open /dev/stdin can't read.
    with os.fdopen(os.memfd_create("input"), "r+b") as stdin:
        stdin.write(text.encode(errors="replace"))
        stdin.seek(0)
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=stdin, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, errors = await process.communicate()
    finally:
        await _end(process)
    # Shell scripts end with 0 where a command inside them failed: no output tells as well.
    if process.returncode != 0 or (text and not output):
        last_words = errors.decode(errors="replace").strip()[-_STDERR_CHARS_MAX:]
        raise CommandError(f"{argv[0]} ended with {process.returncode}: {last_words}")
    return output


async def output_of(argv: Sequence[str], timeout_seconds: float = 10.0) -> str | None:
    """Return what a tool prints, or None where it is not installed or fails."""
    try:
        return (await run_command(argv, "", timeout_seconds)).decode(errors="replace")
    except (FileNotFoundError, CommandError, TimeoutError):
        return None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        # The whole group: a tool that is a shell script has children, which would keep running,
        # and keep the pipes open that `wait` waits for.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
