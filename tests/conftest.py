"""What every test gets: the check that it left nothing behind, and a real scheduler on demand."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
import uvloop

from tests.harness import Overrides, RunningScheduler, RunScheduler
from tests.leaks import LeakCheck, mark_descendants, marked_processes

# Deadlines of single examples would be wall-clock asserts, which a busy machine breaks. The blob
# replays a failure anywhere; examples stay random on CI too, where hypothesis would fix them.
hypothesis.settings.register_profile("random", deadline=None, print_blob=True, derandomize=False)
hypothesis.settings.load_profile("random")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# libuv opens one pipe for signals with its first loop and keeps it: not a leak of some test.
uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a child process, a descriptor or shared memory behind."""
    check = LeakCheck()
    yield
    request.node.funcargs.clear()  # an array among them keeps its mapping, and so a descriptor
    left = check.left()
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _no_orphans() -> Iterator[None]:
    """Fail the run where a process survives whose own parent is gone already."""
    mark = mark_descendants()
    yield
    left = marked_processes(mark, except_pid=os.getpid())
    if left:
        pytest.fail("processes of these tests still run:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def run_scheduler(tmp_path: Path) -> Iterator[RunScheduler]:
    """Start schedulers that are stopped, and checked, after the test."""
    with ExitStack() as stack:
        started: list[RunningScheduler] = []
        serving: list[RunningScheduler] = []

        def run(overrides: Overrides | None = None) -> RunningScheduler:
            folder = tmp_path / f"scheduler-{len(started)}"
            folder.mkdir()
            scheduler = RunningScheduler(folder, overrides)
            started.append(scheduler)
            stack.callback(scheduler.kill)
            scheduler.wait_ready()
            serving.append(scheduler)
            return scheduler

        yield run
        for scheduler in serving:
            if not scheduler.stopped:
                scheduler.stop()
