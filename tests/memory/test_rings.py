"""Release rings: what one gateway releases the other takes, once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from scheduler.memory.layout import RING_ENTRIES, Dimensions
from scheduler.memory.rings import ReleaseRings
from scheduler.memory.segment import Segment


@pytest.fixture
def rings() -> Iterator[list[ReleaseRings]]:
    dimensions = Dimensions(gateways=3, nodes=1, sessions_per_gateway=1, classes=1)
    segment = Segment.create(dimensions, epoch="", started_ms=0, started_ns=0)
    yield [ReleaseRings(segment.views, 3, index) for index in range(3)]
    segment.close()


def test_the_owner_takes_what_readers_released_once(rings: list[ReleaseRings]) -> None:
    assert rings[1].release(0, 11)
    assert rings[2].release(0, 12)
    assert rings[2].release(1, 13)
    assert sorted(rings[0].take()) == [11, 12]
    assert rings[0].take() == []
    assert rings[1].take() == [13]


def test_a_full_ring_refuses_until_its_owner_takes(rings: list[ReleaseRings]) -> None:
    for block in range(RING_ENTRIES):
        assert rings[1].release(0, block)
    assert not rings[1].release(0, -1)
    assert rings[0].take() == list(range(RING_ENTRIES))
    assert rings[1].release(0, 5)
    assert rings[0].take() == [5]


def test_nothing_is_lost_between_two_processes() -> None:
    total = 20 * RING_ENTRIES
    dimensions = Dimensions(gateways=2, nodes=1, sessions_per_gateway=1, classes=1)
    segment = Segment.create(dimensions, epoch="", started_ms=0, started_ns=0)
    code = (
        "import os, sys; from scheduler.memory.rings import ReleaseRings;"
        "from scheduler.memory.segment import Segment\n"
        "s = Segment.attach(int(sys.argv[1]), writable=True)\n"
        "r = ReleaseRings(s.views, 2, 1)\n"
        "for block in range(int(sys.argv[2])):\n"
        "  while not r.release(0, block): os.sched_yield()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(segment.fd), str(total)], pass_fds=[segment.fd]
    )
    owner = ReleaseRings(segment.views, 2, 0)
    taken: list[int] = []
    deadline = time.monotonic() + 30
    try:
        while len(taken) < total and time.monotonic() < deadline:
            taken += owner.take()
            os.sched_yield()
        assert taken == list(range(total))
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        segment.close()
