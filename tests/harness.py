"""A real scheduler for tests: `python -m scheduler run` with all its processes, on free ports.

::

    def test_it(run_scheduler: RunScheduler) -> None:
        scheduler = run_scheduler({"gateways": 2, "scheduler.job_timeout_seconds": 1})
        ... scheduler.session_url ...

The fixture stops it after the test and fails where that took too long, the exit code was not 0 or
a process was left behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil

from scheduler.config import ENV_PREFIX
from scheduler.supervisor.runtime_dir import Endpoints, read_endpoints

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02
LOG_CHARS_SHOWN_MAX = 8_000

Overrides = Mapping[str, object]
"""Settings by dotted key: {"scheduler.job_timeout_seconds": 1}."""

_MAY_STAY = {"snapshot.json", "crashes"}
"""In the runtime folder."""

_DEFAULTS: Overrides = {
    "gateways": 1,
    "drain_seconds": 2,
    "server.host": "127.0.0.1",
    "server.port": 0,
    "server.ops_port": 0,
    "observability.log_format": "json",
    # Nothing listens there: no test depends on a catalogue that a machine happens to serve.
    "model_hub.base_url": "http://127.0.0.1:1",
}

T = TypeVar("T")


class RunScheduler(Protocol):
    """The `run_scheduler` fixture."""

    def __call__(self, overrides: Overrides | None = None) -> "RunningScheduler":
        """Start a scheduler and return when it serves."""


def poll(what: str, check: Callable[[], T | None], *, seconds: float = 10.0) -> T:
    """Call `check` until it returns something true, and return that; fail with `what`."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_SECONDS)


def environment(overrides: Overrides) -> dict[str, str]:
    """Return this process's environment with settings laid over it, none inherited."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(ENV_PREFIX)}
    settings = {
        ENV_PREFIX + key.upper().replace(".", "__"): value
        if isinstance(value, str)
        else json.dumps(value)
        for key, value in overrides.items()
    }
    return inherited | settings


class RunningScheduler:
    """A scheduler in processes of its own."""

    def __init__(
        self,
        folder: Path,
        overrides: Overrides | None = None,
        *,
        config: Path | None = None,
        command: Sequence[str] = (),
    ) -> None:
        """Start it with its files in `folder`; it may not serve yet.

        `overrides` go to the environment, which wins over the file `config`. `command` takes
        the place of `python -m scheduler run`, where it is given.
        """
        self.runtime_dir = folder / "runtime"
        self.log_path = folder / "scheduler.log"
        settings = {**_DEFAULTS, "runtime_dir": str(self.runtime_dir), **(overrides or {})}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(command or (sys.executable, "-m", "scheduler", "run")),
                    *(("--config", str(config)) if config else ()),
                ],
                env=environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.stopped = False
        self._endpoints: Endpoints | None = None

    def wait_ready(self) -> None:
        """Return when all its processes serve; fail with its log where they don't."""

        def ready() -> Endpoints | None:
            assert self.process.poll() is None, (
                f"the scheduler ended with exit code {self.process.returncode}\n{self.log_tail()}"
            )
            found = read_endpoints(self.runtime_dir)
            # A scheduler before this one may have been killed and left its file.
            return found if found is not None and found.pid == self.process.pid else None

        try:
            self._endpoints = poll("the scheduler serves", ready, seconds=START_SECONDS_MAX)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    @property
    def endpoints(self) -> Endpoints:
        """Its addresses as host:port, and the supervisor's pid."""
        assert self._endpoints is not None, "not ready yet"
        return self._endpoints

    @property
    def session_url(self) -> str:
        """Where sessions connect."""
        return f"ws://{self.endpoints.public}/ws/session"

    @property
    def node_url(self) -> str:
        """Where nodes connect."""
        return f"ws://{self.endpoints.public}/ws/node"

    @property
    def public_url(self) -> str:
        """HTTP on the public port."""
        return f"http://{self.endpoints.public}"

    @property
    def ops_url(self) -> str:
        """HTTP on the operations port."""
        return f"http://{self.endpoints.operations}"

    def children(self, role: str = "") -> list[psutil.Process]:
        """Return its running processes of a role ("gateway", "dispatch", "stats"), "" for all."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if f"scheduler.{role}" in " ".join(child.cmdline()):
                    found.append(child)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def log(self) -> str:
        """Return everything its processes logged so far."""
        return self.log_path.read_text(errors="replace")

    def log_tail(self) -> str:
        """Return the end of the log, for failure messages."""
        return f"--- log of the scheduler\n{self.log()[-LOG_CHARS_SHOWN_MAX:]}"

    def log_records(self) -> list[dict[str, Any]]:
        """Return its log lines that are JSON."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM, *, exit_code: int = 0) -> None:
        """Signal the supervisor, where it still runs, and check that all ends as it should."""
        self.stopped = True
        children = self.children() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the scheduler did not end within {STOP_SECONDS_MAX:g} s\n{self.log_tail()}"
            ) from None
        finally:
            left = self._kill(children)
        assert code == exit_code, (
            f"the scheduler ended with exit code {code}, not {exit_code}\n{self.log_tail()}"
        )
        assert not left, f"processes outlived the supervisor: {left}\n{self.log_tail()}"
        if number != signal.SIGKILL:
            published = {p.name for p in self.runtime_dir.glob("*")} - _MAY_STAY
            assert not published, f"left in the runtime folder: {published}"

    def kill(self) -> None:
        """End whatever still runs, without a check. Does nothing after `stop`."""
        if self.process.poll() is None:
            children = self.children()
            self.process.kill()
            self.process.wait()
            self._kill(children)

    def _kill(self, children: list[psutil.Process]) -> list[psutil.Process]:
        """End the supervisor and `children`; return those that had not ended by themselves."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        _, left = psutil.wait_procs(children, timeout=5)
        left = [child for child in left if runs(child)]
        for child in left:
            child.kill()
        psutil.wait_procs(left, timeout=5)
        return left


def runs(process: psutil.Process) -> bool:
    """Whether the process has not ended.

    An orphan that has stays a zombie where nobody reaps it: it is handed to the tests themselves,
    or to a process 1 that does not, as in some containers.
    """
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
