import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from scheduler.config import Config
from scheduler.stats.catalog import EmptyCatalogue
from scheduler.stats.health import HealthReader
from scheduler.stats.publisher import Observer, Publication, Publisher
from scheduler.stats.reading import MemoryReader
from scheduler.stats.store import MemoryStore, SnapshotStore
from tests.stats.world import DIMENSIONS, World, make_world

DEADLINE_SECONDS = 10.0


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


class UnwritableStore(MemoryStore):
    """As a full disk."""

    def publish(self, data: bytes) -> None:
        raise OSError(28, f"No space left on device for {len(data)} bytes")


class HangingStore(MemoryStore):
    """As a disk that doesn't answer until `freed`."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def publish(self, data: bytes) -> None:
        assert self.freed.wait(DEADLINE_SECONDS)
        super().publish(data)


def make_publisher(
    world: World, served: SnapshotStore, saved: SnapshotStore, *observers: Observer
) -> Publisher:
    views = world.reader_views()
    return Publisher(
        Config(),
        MemoryReader(views),
        HealthReader(views, DIMENSIONS.gateways),
        EmptyCatalogue(),
        served=served,
        saved=saved,
        source="here",
        observers=observers,
    )


def sequence(store: SnapshotStore) -> int:
    data = store.latest()
    assert data is not None
    number: int = json.loads(data)["snapshot"]["sequence"]
    return number


def failures(store: SnapshotStore) -> int:
    data = store.latest()
    assert data is not None
    counters = json.loads(data)["scheduler"]["counters"]["stats"]
    number: int = counters["snapshot_writes_failed_total"]
    return number


def test_the_same_bytes_go_to_both_stores(world: World) -> None:
    served, saved = MemoryStore(), MemoryStore()

    async def run() -> None:
        publisher = make_publisher(world, served, saved)
        for number in (1, 2):
            publisher.publish()
            assert sequence(served) == number
            await publisher.wait_saved(DEADLINE_SECONDS)
            assert saved.latest() == served.latest()

    asyncio.run(run())


def test_what_cannot_be_saved_is_served_counted_and_logged_once(world: World) -> None:
    served = MemoryStore()

    async def run() -> None:
        publisher = make_publisher(world, served, UnwritableStore())
        for _ in range(4):
            publisher.publish()
            await publisher.wait_saved(DEADLINE_SECONDS)

    with capture_logs() as logs:
        asyncio.run(run())
    assert sequence(served) == 4
    assert failures(served) == 3  # the fourth was made before its own write failed
    assert [entry["event"] for entry in logs] == ["snapshot not saved"]
    assert "No space left" in logs[0]["problem"]


def test_a_write_that_hangs_holds_up_nobody(world: World) -> None:
    served, saved = MemoryStore(), HangingStore()

    async def run() -> None:
        publisher = make_publisher(world, served, saved)
        publisher.publish()
        await publisher.wait_saved(0.01)
        publisher.publish()
        publisher.publish()
        assert sequence(served) == 3
        assert saved.latest() is None
        saved.freed.set()
        await publisher.wait_saved(DEADLINE_SECONDS)
        assert sequence(saved) == 1
        publisher.publish()
        await publisher.wait_saved(DEADLINE_SECONDS)
        assert sequence(saved) == 4
        assert failures(served) == 2

    asyncio.run(run())


def test_torn_rows_are_counted(world: World) -> None:
    served = MemoryStore()
    world.put("nodes", 0, row_sequence=1)

    async def run() -> None:
        publisher = make_publisher(world, served, MemoryStore())
        for _ in range(2):
            publisher.publish()
            await publisher.wait_saved(DEADLINE_SECONDS)

    asyncio.run(run())
    data = served.latest()
    assert data is not None
    assert json.loads(data)["scheduler"]["counters"]["stats"]["torn_rows_total"] == 2


def test_age_grows_until_the_next_snapshot(world: World) -> None:
    async def run() -> None:
        publisher = make_publisher(world, MemoryStore(), MemoryStore())
        publisher.publish()
        first = publisher.age_ns()
        assert 0 <= first <= publisher.age_ns()
        await publisher.wait_saved(DEADLINE_SECONDS)

    asyncio.run(run())


def test_observers_are_told_what_was_served(world: World) -> None:
    served = MemoryStore()
    seen: list[Publication] = []
    world.put_node(0, "node")

    async def run() -> None:
        publisher = make_publisher(world, served, MemoryStore(), seen.append)
        for _ in range(2):
            publisher.publish()
            assert seen[-1].data == served.latest()
            await publisher.wait_saved(DEADLINE_SECONDS)

    asyncio.run(run())
    assert [publication.snapshot.snapshot.sequence for publication in seen] == [1, 2]
    assert seen[0].reading.nodes.node_id.tolist() == [b"node"]
