"""Children: started with what they need, on the cores they may use, linked by fresh pipes."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.config import Config, CpuAffinitySettings
from scheduler.errors import ChannelClosed, StartError
from scheduler.ipc.boot import BootSpec, ChildId, ChildRole
from scheduler.ipc.control import Drain
from scheduler.memory.layout import Dimensions
from scheduler.supervisor.children import Child, allowed_cores, cores_of, exit_status, link
from tests.children import until

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
READS_BOOT = (
    sys.executable,
    "-c",
    "import sys; from scheduler.ipc.boot import read_boot;"
    "b = read_boot(int(sys.argv[1])); sys.exit(b.index + 10)",
)


def boot(role: ChildRole = "gateway", index: int = 0) -> BootSpec:
    return BootSpec(
        role=role,
        index=index,
        incarnation=3,
        epoch="e",
        config=Config(),
        dimensions=Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1),
        cores=sorted(os.sched_getaffinity(0)),
        supervisor_pid=os.getpid(),
        control_fd=-1,
        segment_fd=0,
    )


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.process.kill()
        child.reap()


def test_a_child_reads_who_it_is(children: list[Child]) -> None:
    child = Child(READS_BOOT, boot(index=2))
    children.append(child)
    assert child.process.wait(30) == 12
    assert (child.id, child.incarnation) == (ChildId("gateway", 2), 3)


def test_a_command_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="can't start gateway 0"):
        Child((str(tmp_path / "missing"),), boot())


def test_a_child_that_ended_is_noticed_on_its_control_socket(children: list[Child]) -> None:
    child = Child(READS_BOOT, boot())
    children.append(child)
    child.process.wait(30)
    with pytest.raises(ChannelClosed):
        child.control.receive()
    child.send(Drain(1.0))  # nobody there to be told; harmless


def test_linking_hands_each_side_its_ends_and_keeps_none(children: list[Child]) -> None:
    children += [Child(SLEEPER, boot()), Child(SLEEPER, boot("dispatcher"))]
    before = len(os.listdir("/proc/self/fd"))
    link(*children)
    assert len(os.listdir("/proc/self/fd")) == before


def test_reaping_returns_the_exit_code_and_releases_everything() -> None:
    child = Child(SLEEPER, boot())
    child.process.kill()
    until(lambda: child.process.poll() is not None)
    assert child.reap() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (-9, "SIGKILL"), (78, "exit code 78")]
)
def test_exit_codes_are_told_in_words(code: int, text: str) -> None:
    assert exit_status(code) == text


def test_gateways_take_their_cores_in_turns() -> None:
    affinity = CpuAffinitySettings(gateway=[1, 3], dispatcher=[0, 2])
    available = {0, 1, 2, 3}
    taken = [cores_of(ChildId("gateway", i), affinity, available) for i in range(3)]
    assert taken == [[1], [3], [1]]
    assert cores_of(ChildId("dispatcher"), affinity, available) == [0, 2]
    assert cores_of(ChildId("stats"), affinity, available) == [0, 1, 2, 3]


def test_a_core_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match=r"cpu_affinity.stats names cores \[9\]"):
        allowed_cores("stats", [0, 9], {0, 1})
