import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leaks
from tests.leaks import LeakCheck, mark_descendants, marked_processes

SLEEPER = "import time; time.sleep(30)"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SETTLE_SECONDS_MAX", 0.0)


def test_nothing_new_is_no_leak() -> None:
    check = LeakCheck()
    with Path(__file__).open():
        pass
    assert check.left() == []


def test_an_open_descriptor_is_found() -> None:
    check = LeakCheck()
    with Path(__file__).open() as file:
        assert check.left() == [f"descriptor {file.fileno()}: {__file__}"]


def test_a_child_is_found_until_it_was_waited_for() -> None:
    check = LeakCheck()
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as child:
        try:
            assert any(line.startswith(f"child process {child.pid}") for line in check.left())
        finally:
            child.kill()
    assert check.left() == []


def test_a_marked_process_is_found_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leaks.MARK, "")  # restores the run's own mark afterwards
    mark = mark_descendants()
    assert marked_processes(mark, except_pid=os.getpid()) == []
    with subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True) as child:
        try:
            found = marked_processes(mark, except_pid=os.getpid())
            assert [line for line in found if line.startswith(f"process {child.pid}")]
        finally:
            child.kill()
    assert marked_processes(mark, except_pid=os.getpid()) == []
