"""Release rings: what one gateway releases the other takes, once."""

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
