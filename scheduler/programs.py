"""Whole programs under measurement: a scheduler, simulated nodes, drivers; all of them ended again.

Benchmarks and `stress` share it.

What a program writes goes to a file, whose end is shown where the program fails.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar, cast

from scheduler.config import ENV_PREFIX
from scheduler.errors import ProgramError
from scheduler.memory.views import Views
from scheduler.protocol.status import Status
from scheduler.supervisor.runtime_dir import Endpoints, read_endpoints

START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.05
_LOG_CHARS_SHOWN_MAX = 4_000

PYTHON_MODULE = (sys.executable, "-m")

T = TypeVar("T")

Settings = Mapping[str, object]
"""Settings of the scheduler by dotted key."""


class Program:
    """A Python module, or another command, that runs as a process."""

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        talks: bool,
        command: Sequence[str] = PYTHON_MODULE,
    ) -> None:
        """`arguments` are those of `command`; messages and log file go by `name`.

        One that `talks` has pipes for input and output, which are closed and logged otherwise.
        """
        self.name = name
        self._log_path = folder / f"{name}.log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own modules
                [*command, *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                bufsize=0,
                process_group=0,  # Ctrl-C is for its parent, which ends all in good order
            )

    def wait(
        self,
        what: str,
        check: Callable[[], T | None],
        seconds_max: float = START_SECONDS_MAX,
    ) -> T:
        """Return the first true value of `check`; raise ProgramError where that takes too long."""
        deadline = time.monotonic() + seconds_max
        while not (found := check()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self.failure(f"not within {seconds_max:g} s: {what}")
            time.sleep(_POLL_SECONDS)
        return found

    def expect(self, line: bytes) -> None:
        """Wait for a line on its output, or its end."""
        if cast(IO[bytes], self.process.stdout).readline() != line:
            raise self.failure(f"{line!r} did not come")

    def read_line(self) -> bytes:
        """Return the next line of its output."""
        line = cast(IO[bytes], self.process.stdout).readline()
        if not line:
            raise self.failure("its output ended")
        return line

    def finish(self, timeout_seconds: float) -> bytes:
        """Wait for its end; return the rest of its output."""
        try:
            output, _ = self.process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"no end within {timeout_seconds:g} s") from None
        if self.process.returncode:
            raise self.failure("it failed")
        return output

    def tell(self, line: bytes) -> None:
        """Write a line to its input."""
        try:
            cast(IO[bytes], self.process.stdin).write(line + b"\n")
        except BrokenPipeError:
            raise self.failure("it takes no input") from None

    def failure(self, problem: str) -> ProgramError:
        """Return an error with the end of the log."""
        code = self.process.poll()
        state = "running" if code is None else f"exit code {code}"
        log = self._log_path.read_text(errors="replace")[-_LOG_CHARS_SHOWN_MAX:]
        return ProgramError(f"{self.name}: {problem} ({state})\n{log}")

    def kill(self) -> None:
        """End it at once. A scheduler's processes end with it."""
        if self.process.poll() is None:
            self.process.kill()

    def stop(self) -> None:
        """End it, in good order if it does so in time."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@contextmanager
def running(
    folder: Path,
    name: str,
    *arguments: str,
    environment: Mapping[str, str] = os.environ,
    talks: bool = False,
    command: Sequence[str] = PYTHON_MODULE,
) -> Iterator[Program]:
    """Start a program, see Program; leaving the block ends it."""
    program = Program(
        folder, name, arguments, environment=environment, talks=talks, command=command
    )
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def running_scheduler(folder: Path, settings: Settings) -> Iterator[Endpoints]:
    """Start a scheduler with its runtime folder at `folder`/runtime, on free ports of loopback.

    Yields its addresses. Nothing of the user's own settings counts.
    """
    runtime_dir = folder / "runtime"
    environment = scheduler_environment(runtime_dir, settings)
    with running(folder, "scheduler", "scheduler", "run", environment=environment) as program:
        yield program.wait("the scheduler serves", lambda: read_endpoints(runtime_dir))


def scheduler_environment(runtime_dir: Path, settings: Settings) -> dict[str, str]:
    """Return the environment of a scheduler on free ports of loopback, with `settings` over it."""
    defaults: Settings = {
        "runtime_dir": str(runtime_dir),
        "drain_seconds": 1,
        "server.host": "127.0.0.1",
        "server.port": 0,
        "server.ops_port": 0,
        "model_hub.base_url": "",
        "observability.log_level": "error",
    }
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return inherited | variables({**defaults, **settings})


def variables(settings: Settings) -> dict[str, str]:
    """Return the environment that makes a scheduler run with `settings`."""
    return {
        ENV_PREFIX + key.upper().replace(".", "__"): value
        if isinstance(value, str)
        else json.dumps(value)
        for key, value in settings.items()
    }


@contextmanager
def running_nodes(
    folder: Path, url: str, views: Views, count: int, *options: str
) -> Iterator[Program]:
    """Start `count` simulated nodes and wait until all of them are ready for jobs.

    `views` are those of the scheduler's memory; `options` are further ones of `node sim`.
    """
    arguments = ("scheduler", "node", "sim", "--url", url, "--count", str(count), *options)
    with running(folder, "nodes", *arguments) as program:
        status = views.column("nodes", "status")
        program.wait(
            f"{count} nodes are ready", lambda: int((status == Status.READY).sum()) >= count
        )
        yield program
