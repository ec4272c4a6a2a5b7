"""What the kernel says of processes: the whole of it, finely, and of those that are asked for."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from native_bench.costs import CoreWatch, CpuWatch, core_times, cpu_seconds, memory_bytes
from tests.harness import poll

_SPIN = "while True: pass"


@pytest.fixture
def rivals() -> Iterator[dict[str, int]]:
    """Start two processes that both want the same core all the time; yield their pids."""
    core = {min(os.sched_getaffinity(0))}
    started = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(2)]
    try:
        for process in started:
            os.sched_setaffinity(process.pid, core)
        yield {f"rival {number}": process.pid for number, process in enumerate(started)}
    finally:
        for process in started:
            process.kill()
            process.wait(10)


def test_cpu_time_is_that_of_the_process_s_own_clock() -> None:
    """Ticks of 10 ms would lie below what was used before."""
    before = time.process_time()
    found = cpu_seconds(os.getpid())
    assert before <= found <= time.process_time()


def test_who_wants_the_same_core_waits_for_it(rivals: dict[str, int]) -> None:
    watch, cpu_watch = CoreWatch(rivals), CpuWatch(rivals)

    def both_waited_and_ran() -> bool:
        found = watch.times()
        assert found.keys() == rivals.keys()
        return all(min(t.ran_ns, t.waited_ns, t.slices) > 0 for t in found.values())

    poll("both have run and waited", both_waited_and_ran, seconds=30)
    assert all(seconds > 0 for seconds in cpu_watch.used().values())


def test_times_of_a_watch_begin_with_it(rivals: dict[str, int]) -> None:
    [pid, _] = rivals.values()
    poll("it has waited", lambda: core_times(pid).waited_ns > 0, seconds=30)
    before = core_times(pid)
    found = CoreWatch({"one": pid}).times()["one"]
    assert found.waited_ns <= core_times(pid).waited_ns - before.waited_ns
    assert found.slices <= core_times(pid).slices - before.slices


def test_memory_that_is_shared_counts_once() -> None:
    found = memory_bytes({"this": os.getpid()})
    assert 0 < found["pss"] <= found["rss"]
