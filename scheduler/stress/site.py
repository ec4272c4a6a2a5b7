"""All that runs in a stress test: a scheduler unless there is one, nodes, drivers."""

import io
import os
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.parse import urlsplit

import msgspec

from scheduler.config import load as load_config
from scheduler.errors import ConfigError, LayoutError, ProgramError
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.programs import Program, running, running_scheduler
from scheduler.stress.messages import READY, STOP, Batch, Begin, NodesTask, Task
from scheduler.stress.scenario import Scenario
from scheduler.stress.watch import Watch
from scheduler.supervisor.runtime_dir import read_endpoints

_CLOSE_SECONDS_MAX = 10.0
"""For a driver to close its sessions."""

_NODES_ROWS_MIN = 64
_SPARE_ROWS = 16
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - where a scheduler may listen


class Feed:
    """What one driver reports, read by a thread so that the driver never waits for us."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ended = False
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        output = cast(io.RawIOBase, program.process.stdout)
        self._output = io.BufferedReader(output, 1 << 16)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)
        self._lines.put(b"")

    def batches(self) -> Iterator[Batch]:
        """Yield what has come; raise ProgramError where the driver ended without its last word."""
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return
            if not line:
                if not self.ended:
                    raise self.program.failure("it ended too early")
                return
            batch = msgspec.json.decode(line, type=Batch)
            self.ended = self.ended or batch.done
            yield batch

    def close(self) -> None:
        """Wait until the driver has ended; it is killed where it has not had its last word."""
        if not self.ended:
            self.program.kill()
        self._thread.join(_CLOSE_SECONDS_MAX)
        if self._thread.is_alive():
            self.program.kill()
            self._thread.join()
        self._output.close()


class Site:
    """What was started. `views` are those of the scheduler's memory where it can be read."""

    def __init__(self, url: str, views: Views | None, own_pid: int | None = None) -> None:
        """`own_pid` is that of the scheduler, where it was started here."""
        self.url = url
        self._own_pid = own_pid
        self.views = views
        self.programs: list[Program] = []
        self.feeds: list[Feed] = []
        self.watch: Watch

    def begin(self, begin_ns: int) -> None:
        """Tell the drivers when to begin."""
        for feed in self.feeds:
            feed.program.tell(msgspec.json.encode(Begin(begin_ns)))

    def stop(self) -> None:
        """Tell the drivers to end early."""
        for feed in self.feeds:
            with suppress(ProgramError):  # it has just ended
                feed.program.tell(STOP)

    def kill(self) -> None:
        """End everything at once."""
        for program in self.programs:
            program.kill()
        if self._own_pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._own_pid, signal.SIGKILL)  # its processes end with it


@contextmanager
def running_site(scenario: Scenario, url: str | None, runtime_dir: Path | None) -> Iterator[Site]:
    """Start what a scenario needs; leaving the block ends all of it.

    `url` is that of a running scheduler, ws://host:port; None starts one. Raises ProgramError, and
    ConfigError for an address that is none.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lingua-stress-")))
        site = _running(stack, url, runtime_dir) if url else _own(stack, folder, scenario)
        nodes = _start_nodes(stack, folder, site, scenario)
        drivers = _start_drivers(stack, folder, site, scenario)
        site.feeds = [stack.enter_context(closing(Feed(driver))) for driver in drivers]
        pids = {
            **{f"load: {driver.name}": driver.process.pid for driver in drivers},
            **{f"load: {group.name}": group.process.pid for group in nodes},
        }
        site.watch = Watch(site.views, pids)
        yield site


def _own(stack: ExitStack, folder: Path, scenario: Scenario) -> Site:
    rows = max(_NODES_ROWS_MIN, scenario.nodes_total + _SPARE_ROWS)
    settings = {"limits.nodes_max": rows, **scenario.scheduler}
    endpoints = stack.enter_context(running_scheduler(folder, settings))
    segment = stack.enter_context(closing(Segment.open(folder / "runtime" / "memory")))
    return Site(f"ws://{endpoints.public}", segment.views, endpoints.pid)


def _running(stack: ExitStack, url: str, runtime_dir: Path | None) -> Site:
    base = base_of(url)
    folder = runtime_dir or load_config(None).runtime_path
    endpoints = read_endpoints(folder)
    if endpoints is None or not (runtime_dir or _is_same(base, endpoints.public)):
        return Site(base, None)
    try:
        segment = stack.enter_context(closing(Segment.open(folder / "memory")))
    except LayoutError:
        if runtime_dir:
            raise
        return Site(base, None)
    return Site(base, segment.views)


def base_of(url: str) -> str:
    """Return ws://host:port of an address, with or without a path; raise ConfigError for others."""
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ConfigError(f"--url {url}: no address of a scheduler; write ws://host:port")
    return f"{parts.scheme}://{parts.netloc}"


def _is_same(base: str, public: str) -> bool:
    """Return whether the address is that of the scheduler that listens at `public` here."""
    asked, listening = urlsplit(base), urlsplit(f"//{public}")
    host, listens_at = asked.hostname or "", listening.hostname or ""
    same_host = host == listens_at or (host in _LOOPBACK and listens_at in _LOOPBACK | _ANY)
    return same_host and asked.port == listening.port


def _start_nodes(stack: ExitStack, folder: Path, site: Site, scenario: Scenario) -> list[Program]:
    found = []
    for number, group in enumerate(scenario.nodes):
        task = NodesTask(f"{site.url}/ws/node", group, scenario.seed + number)
        name = f"nodes {group.name}"
        found.append(_start(stack, folder, site, name, "node_driver", msgspec.json.encode(task)))
    for program in found:  # all of them start at the same time
        program.expect(READY)
    return found


def _start_drivers(stack: ExitStack, folder: Path, site: Site, scenario: Scenario) -> list[Program]:
    found = []
    for number in range(scenario.drivers):
        task = Task(f"{site.url}/ws/session", scenario, number)
        name = f"sessions {number}"
        found.append(_start(stack, folder, site, name, "driver", msgspec.json.encode(task)))
    for program in found:
        program.expect(READY)
    return found


def _start(
    stack: ExitStack, folder: Path, site: Site, name: str, module: str, task: bytes
) -> Program:
    arguments = (f"scheduler.stress.{module}", task.decode())
    program = stack.enter_context(running(folder, name, *arguments, talks=True))
    site.programs.append(program)
    return program
