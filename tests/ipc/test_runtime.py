import gc
import json
import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from scheduler.config import Config, ObservabilitySettings
from scheduler.errors import ChannelClosed
from scheduler.ipc.boot import BOOT_FAILURE_EXIT, BootSpec, write_boot
from scheduler.ipc.control import REASON_CHARS_MAX, BootFailed, make_control
from scheduler.ipc.runtime import (
    BEAT_INTERVAL_MS,
    LAG_HALF_NS,
    TIMERLESS_NS_MAX,
    Pulse,
    freeze_heap,
    resident_bytes,
)
from scheduler.memory.layout import STATS_ROW, Dimensions
from scheduler.memory.segment import Segment

MS = 1_000_000
DIMENSIONS = Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1)

CHILD = """
import json, os, signal, sys, structlog
from scheduler.ipc.boot import read_boot
from scheduler.ipc.control import Control
from scheduler.ipc.runtime import enter_child, fail_boot
boot = read_boot(int(sys.argv[1]))
enter_child(boot)
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
structlog.get_logger().info("entered")
print(json.dumps(sorted(os.sched_getaffinity(0))))
fail_boot(Control(boot.control_fd), "x" * 100_000)
"""

SLEEPING_CHILD = """
import os, sys, time
from scheduler.ipc.boot import read_boot
from scheduler.ipc.runtime import enter_child
enter_child(read_boot(int(sys.argv[1])))
os.write(int(sys.argv[2]), b"entered")
print(flush=True)
time.sleep(60)
"""

KILLED_SUPERVISOR = """
import msgspec, os, signal, subprocess, sys
from scheduler.ipc.boot import read_boot, write_boot
child, boot_fd, write_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
boot_fd = write_boot(msgspec.structs.replace(read_boot(boot_fd), supervisor_pid=os.getpid()))
command = [sys.executable, "-c", child, str(boot_fd), str(write_fd)]
process = subprocess.Popen(command, pass_fds=[boot_fd, write_fd], stdout=subprocess.PIPE)
process.stdout.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def spec(**changes: object) -> BootSpec:
    base = BootSpec(
        role="stats",
        index=0,
        incarnation=0,
        epoch="",
        config=Config(observability=ObservabilitySettings(log_format="json")),
        dimensions=DIMENSIONS,
        cores=sorted(os.sched_getaffinity(0)),
        supervisor_pid=os.getpid(),
        control_fd=-1,
        segment_fd=-1,
    )
    return msgspec.structs.replace(base, **changes)


def run_child(boot: BootSpec) -> subprocess.CompletedProcess[str]:
    fd = write_boot(boot)
    try:
        return subprocess.run(
            [sys.executable, "-c", CHILD, str(fd)],
            pass_fds=[fd, boot.control_fd],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(fd)


def test_a_child_leaves_signals_to_the_supervisor_and_says_why_it_cannot_start() -> None:
    ours, theirs = make_control()
    core = min(os.sched_getaffinity(0))
    result = run_child(spec(control_fd=theirs.fileno(), cores=[core]))
    theirs.close()
    assert result.returncode == BOOT_FAILURE_EXIT
    assert json.loads(result.stdout) == [core]
    event = json.loads(result.stderr)
    assert (event["event"], event["process"]) == ("entered", "stats")
    assert ours.receive() == [(BootFailed("x" * REASON_CHARS_MAX), [])]
    with pytest.raises(ChannelClosed):
        ours.receive()
    ours.close()


def test_a_child_whose_supervisor_is_gone_ends() -> None:
    ours, theirs = make_control()
    result = run_child(spec(control_fd=theirs.fileno(), supervisor_pid=1 << 22))
    assert result.returncode == 1
    assert result.stdout == ""
    ours.close()
    theirs.close()


def test_a_child_dies_with_its_supervisor() -> None:
    # The child holds the pipe's other end until it is gone.
    read_fd, write_fd = os.pipe()
    fd = write_boot(spec())
    result = subprocess.run(
        [sys.executable, "-c", KILLED_SUPERVISOR, SLEEPING_CHILD, str(fd), str(write_fd)],
        pass_fds=[fd, write_fd],
        timeout=30,
        check=False,
    )
    os.close(fd)
    os.close(write_fd)
    assert result.returncode == -signal.SIGKILL
    assert os.read(read_fd, 100) == b"entered"
    assert select.select([read_fd], [], [], 30)[0] == [read_fd]
    assert os.read(read_fd, 100) == b""
    os.close(read_fd)


def test_the_heap_is_frozen() -> None:
    before = gc.get_freeze_count()
    freeze_heap()
    try:
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(DIMENSIONS, epoch="e", started_ms=0, started_ns=0)
    yield segment
    segment.close()


def shown(segment: Segment) -> dict[str, int]:
    names = ("heartbeat_ns", "loop_lag_max_ns", "slow_paths_total", "ready")
    row = segment.views.counters("pulses", STATS_ROW)
    return {name: row.get(name) for name in names}


def test_a_timer_that_fires_late_shows_the_loop_s_lag(segment: Segment) -> None:
    pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    now_ns = 1_000 * MS
    for late_ms in (0, 0, 30, 0, 50, 51, 60, 0):
        now_ns += (BEAT_INTERVAL_MS + late_ms) * MS
        pulse.beat(now_ns)
    assert shown(segment) == {
        "heartbeat_ns": now_ns,
        "loop_lag_max_ns": 60 * MS,
        "slow_paths_total": 2,
        "ready": 0,
    }


def test_a_long_turn_shows_life_while_it_moves_on(segment: Segment) -> None:
    pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    beat_ns = 1_000 * MS
    pulse.beat(beat_ns)
    assert beat_ns < pulse.due_ns < beat_ns + 4 * BEAT_INTERVAL_MS * MS
    moved_ns = beat_ns + TIMERLESS_NS_MAX - MS
    pulse.progress(moved_ns)
    assert moved_ns < pulse.due_ns
    assert shown(segment)["heartbeat_ns"] == moved_ns
    assert shown(segment)["loop_lag_max_ns"] == 0, "which is for the timer to tell"


def test_a_loop_whose_timers_are_broken_shows_none(segment: Segment) -> None:
    pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    pulse.beat(1_000 * MS)
    pulse.progress(1_000 * MS + TIMERLESS_NS_MAX)
    assert shown(segment)["heartbeat_ns"] == 1_000 * MS


def test_a_plain_loop_shows_how_long_its_turns_take(segment: Segment) -> None:
    pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    pulse.turn(1_000 * MS, 1_007 * MS)
    pulse.turn(5_000 * MS, 5_070 * MS)
    pulse.turn(9_000 * MS, 9_001 * MS)
    assert shown(segment) == {
        "heartbeat_ns": 9_001 * MS,
        "loop_lag_max_ns": 70 * MS,
        "slow_paths_total": 1,
        "ready": 0,
    }


def test_a_long_turn_is_forgotten_between_half_a_minute_and_a_minute_later(
    segment: Segment,
) -> None:
    pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    half_ms = LAG_HALF_NS // MS

    def lag_ms_after_turn(took_ms: int, end_ms: int) -> int:
        pulse.turn((end_ms - took_ms) * MS, end_ms * MS)
        return shown(segment)["loop_lag_max_ns"] // MS

    start_ms = 10 * half_ms
    assert lag_ms_after_turn(3, start_ms) == 3
    assert lag_ms_after_turn(900, start_ms + half_ms - 1) == 900
    assert lag_ms_after_turn(2, start_ms + half_ms) == 900
    assert lag_ms_after_turn(40, start_ms + half_ms + 1) == 900
    assert lag_ms_after_turn(1, start_ms + 2 * half_ms - 1) == 900
    assert lag_ms_after_turn(1, start_ms + 2 * half_ms) == 40
    assert lag_ms_after_turn(70, start_ms + 2 * half_ms + 1) == 70
    assert lag_ms_after_turn(5, start_ms + 9 * half_ms) == 5


def test_a_new_process_shows_no_stall_of_the_one_before(segment: Segment) -> None:
    Pulse(segment.views, STATS_ROW, path_warn_ms=50).turn(1_000 * MS, 9_000 * MS)
    Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    assert shown(segment)["loop_lag_max_ns"] == 0


def test_a_new_process_is_not_ready_because_the_one_before_was(segment: Segment) -> None:
    Pulse(segment.views, STATS_ROW, path_warn_ms=50).mark_ready()
    assert shown(segment)["ready"] == 1
    Pulse(segment.views, STATS_ROW, path_warn_ms=50)
    assert shown(segment)["ready"] == 0


FLUSHING = """
import structlog
from scheduler import repeats
from scheduler.config import ObservabilitySettings
from scheduler.ipc.runtime import Pulse
from scheduler.logs import configure_logging
from scheduler.memory.layout import STATS_ROW, Dimensions
from scheduler.memory.segment import Segment
configure_logging(ObservabilitySettings(log_format="json"), "test")
dimensions = Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1)
segment = Segment.create(dimensions, epoch="e", started_ms=0, started_ns=0)
pulse = Pulse(segment.views, STATS_ROW, path_warn_ms=3_600_000)
logger = structlog.get_logger()
repeats.WINDOW_NS = 10**18
for _ in range(8):
    logger.warning("slow")
repeats.WINDOW_NS = 0
pulse.turn(2 * 10**9, 2 * 10**9)
logger.info("after")
"""


def test_life_signs_tell_of_warnings_that_were_left_out() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FLUSHING], capture_output=True, text=True, timeout=30, check=True
    )
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events[-2:]] == ["repeated warnings left out", "after"]
    assert (events[-2]["repeated"], events[-2]["count"]) == ("slow", 3)


def test_physical_memory_is_what_the_kernel_says() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 128 << 20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        # Half of it: what else this process has may shrink meanwhile.
        assert resident_bytes() >= before + (64 << 20)
