"""Watching a scheduler replace its gateways. That it does: tests/integration/test_rolling.py."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.errors import StartError
from scheduler.memory.layout import FIRST_GATEWAY_ROW
from scheduler.supervisor.rolling import roll
from scheduler.supervisor.runtime_dir import Endpoints, RuntimeDir
from tests.stats.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A segment published in a runtime folder, as that of this very process."""
    with make_world() as world:
        runtime = RuntimeDir(tmp_path)
        runtime.publish_memory(world.segment.fd)
        runtime.publish_endpoints(Endpoints("127.0.0.1:1", "127.0.0.1:2", os.getpid()))
        yield world
        runtime.close()


@pytest.fixture
def signals() -> Iterator[list[int]]:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGUSR2, before)


def replace(world: World, gateway: int) -> None:
    row = FIRST_GATEWAY_ROW + gateway
    restarts = world.views.column("processes", "restarts")
    world.put("processes", row, restarts=int(restarts[row]) + 1, started_ns=time.monotonic_ns())


def test_a_gateway_counts_once_its_successor_itself_says_that_it_serves(
    world: World, signals: list[int], tmp_path: Path
) -> None:
    for gateway in (0, 1):
        world.beat(FIRST_GATEWAY_ROW + gateway)
    with pytest.raises(TimeoutError, match="gateway 0, 1"):
        list(roll(tmp_path, 0.3))

    def start_only(*_: object) -> None:
        for gateway in (0, 1):
            replace(world, gateway)  # their rows still say ready, as their predecessors left them

    signal.signal(signal.SIGUSR2, start_only)
    with pytest.raises(TimeoutError, match="gateway 0, 1"):
        list(roll(tmp_path, 0.3))
    assert signals == [signal.SIGUSR2]


def test_gateways_are_told_as_they_are_replaced(
    world: World, signals: list[int], tmp_path: Path
) -> None:
    def follow(*_: object) -> None:
        for gateway in (1, 0):
            replace(world, gateway)
            world.beat(FIRST_GATEWAY_ROW + gateway)

    signal.signal(signal.SIGUSR2, follow)
    assert list(roll(tmp_path, 10.0)) == [0, 1]
    assert signals == []


def test_a_scheduler_that_has_ended_is_none(world: World, tmp_path: Path) -> None:
    runtime_pid = os.fork()
    if not runtime_pid:
        os._exit(0)
    os.waitpid(runtime_pid, 0)
    (tmp_path / "endpoints.json").write_text(
        f'{{"public": "", "operations": "", "pid": {runtime_pid}}}'
    )
    with pytest.raises(StartError, match="has ended"):
        list(roll(tmp_path, 1.0))


def test_an_empty_folder_has_no_scheduler(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no scheduler serves"):
        list(roll(tmp_path, 1.0))
