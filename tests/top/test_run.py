"""`top` as a process on a terminal of its own, over real schedulers."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import RunningScheduler, RunScheduler, environment, poll
from tests.top.looks import published

DEADLINE_SECONDS = 30.0
ALTERNATE_SCREEN, NORMAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 100 x 40 in which `top` runs."""

    def __init__(self, runtime_dir: Path, *options: str) -> None:
        self._ours, self.theirs = pty.openpty()
        self.resize(100, 40)
        self.mode = termios.tcgetattr(self.theirs)
        self.raw = ""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "scheduler", "top"),
                *("--runtime-dir", str(runtime_dir), "--interval", "0.2", *options),
            ],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=environment({}) | {"TERM": "xterm"},
        )

    def resize(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def tell_size(self) -> None:
        """Signal as the kernel does where the terminal is the process's controlling one."""
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self) -> str:
        """Take what was written since; return all of it so far."""
        while select.select([self._ours], [], [], 0)[0]:
            self.raw += os.read(self._ours, 65_536).decode(errors="replace")
        return self.raw

    def shows(self, text: str) -> None:
        """Wait until `text` is drawn, whatever was drawn before."""
        start = len(self.read())
        poll(
            f"{text!r} on the screen, after {self.process.poll()}",
            lambda: text in _CONTROL.sub("", self.read()[start:]),
            seconds=DEADLINE_SECONDS,
        )

    def ended(self) -> int:
        """Wait for the end; return the exit code."""

        def code() -> list[int] | None:
            self.read()
            found = self.process.poll()
            return None if found is None else [found]

        return poll("the end of top", code, seconds=DEADLINE_SECONDS)[0]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.close()


def run_once(runtime_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scheduler", "top", "--runtime-dir", str(runtime_dir)]
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env=environment({}),
        check=False,
    )


def once(scheduler: RunningScheduler) -> dict[str, Any]:
    result = run_once(scheduler.runtime_dir, "--once", "--json", "--interval", "0.1")
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def pid_of(scheduler: RunningScheduler, role: str) -> int:
    """Return the pid that the scheduler's own memory names."""
    found = [p["pid"] for p in once(scheduler)["frame"]["processes"] if p["role"] == role]
    assert psutil.Process(found[0]).ppid() == scheduler.process.pid
    return int(found[0])


def test_once_prints_figures_for_people_and_for_machines(run_scheduler: RunScheduler) -> None:
    scheduler = run_scheduler()
    frame = once(scheduler)["frame"]
    assert {p["role"] for p in frame["processes"] if p["fresh"]} == {
        "supervisor",
        "dispatcher",
        "stats",
        "gateway",
    }
    assert 0.1 <= frame["interval_s"] < frame["uptime_s"]
    result = run_once(scheduler.runtime_dir, "--once", "--interval", "0.1")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("lingua-scheduler ")
    assert "\x1b" not in result.stdout


def test_where_nothing_runs_once_ends_with_a_reason(tmp_path: Path) -> None:
    result = run_once(tmp_path, "--once")
    assert (result.returncode, result.stdout) == (69, "")
    assert "is the scheduler running?" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(("options", "hint"), [((), "--once"), (("--json",), "--once")])
def test_wrong_usage_says_what_to_do(tmp_path: Path, options: tuple[str, ...], hint: str) -> None:
    result = run_once(tmp_path, *options)
    assert result.returncode == 2
    assert hint in result.stderr


def test_it_outlives_the_stats_process_and_the_scheduler(
    tmp_path: Path, terminals: list[Terminal]
) -> None:
    first = RunningScheduler(tmp_path)
    terminal = Terminal(first.runtime_dir)
    terminals.append(terminal)
    try:
        terminal.shows("No scheduler to show")
        first.wait_ready()
        terminal.shows("dispatcher generation 1")
        os.kill(pid_of(first, "stats"), signal.SIGKILL)
        terminal.shows("stats ↻1")
        first.stop()
        terminal.shows("The scheduler is gone; these are its last figures")
    finally:
        first.kill()
    second = RunningScheduler(tmp_path)
    try:
        second.wait_ready()
        terminal.shows("dispatcher generation 1")
        assert "stats ↻1" not in _CONTROL.sub("", terminal.read()).rpartition("up ")[2]
        second.stop()
    finally:
        second.kill()
    terminal.press(b"q")
    assert terminal.ended() == 0


def test_it_shows_a_scheduler_whose_stats_process_stands_still(
    run_scheduler: RunScheduler, terminals: list[Terminal]
) -> None:
    scheduler = run_scheduler()
    stats = pid_of(scheduler, "stats")
    terminal = Terminal(scheduler.runtime_dir)
    terminals.append(terminal)
    os.kill(stats, signal.SIGSTOP)
    terminal.shows("stats: no heartbeat for")
    terminal.shows("stats ↻1")  # the supervisor has replaced it
    terminal.press(b"q")
    assert terminal.ended() == 0


def test_keys_and_a_new_size_are_obeyed_at_once(tmp_path: Path, terminals: list[Terminal]) -> None:
    with published(tmp_path):
        terminal = Terminal(tmp_path, "--interval", "3600")  # so nothing else makes it draw
        terminals.append(terminal)
        terminal.shows("by load")
        terminal.press(b"s")
        terminal.shows("by name")
        terminal.press(b"\x1b[B\x1b[6~s")
        terminal.shows("by status")
        terminal.read()
        terminal.resize(60, 20)
        terminal.tell_size()
        terminal.shows("by status")
        terminal.press(b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("end", "code"),
    [("q", 0), ("ctrl-c", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=str,
)
def test_the_terminal_is_left_as_it_was(
    tmp_path: Path, terminals: list[Terminal], end: str | int, code: int
) -> None:
    terminal = Terminal(tmp_path)
    terminals.append(terminal)
    terminal.shows("No scheduler to show")
    assert termios.tcgetattr(terminal.theirs) != terminal.mode
    if end == "q":
        terminal.press(b"q")
    else:
        number = signal.SIGINT if end == "ctrl-c" else int(end)
        terminal.process.send_signal(number)
    assert terminal.ended() == code
    assert termios.tcgetattr(terminal.theirs) == terminal.mode
    text = terminal.read()
    assert text.count(ALTERNATE_SCREEN) == text.count(NORMAL_SCREEN) == 1
    assert "Traceback" not in text
