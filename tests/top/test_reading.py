from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.errors import LayoutError
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.top.reading import Watcher
from tests.stats.world import World
from tests.top.looks import publish, published


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    with closing(Watcher(tmp_path)) as watcher:
        yield watcher


def test_it_shows_what_stands_in_the_memory(tmp_path: Path, watcher: Watcher) -> None:
    with published(tmp_path) as world:
        world.add_service("asr")
        world.put_node(2, "node-a", in_flight=1, capacity=4)
        world.count(1, jobs_accepted_total=7, jobs_live=7)
        world.put("classes", 0, active=1, queued=3)
        world.beat(DISPATCHER_ROW)
        sample = watcher.look()
    assert sample.reading.table["node_id"].tolist() == [b"node-a"]
    assert sample.gateways["jobs_accepted_total"].tolist() == [0, 7]
    assert sample.class_queued.tolist() == [3]
    assert [p.role for p in sample.processes if p.fresh] == ["dispatcher"]


def test_a_sample_does_not_change_with_the_memory(tmp_path: Path, watcher: Watcher) -> None:
    with published(tmp_path) as world:
        world.put("classes", 0, active=1, queued=3)
        sample = watcher.look()
        world.count(0, jobs_live=5)
        world.put("classes", 0, queued=4)
        assert sample.gateways["jobs_live"].tolist() == [0, 0]
        assert sample.class_queued.tolist() == [3]
        assert watcher.look().gateways["jobs_live"].tolist() == [5, 0]


def test_where_nothing_runs_it_says_so(tmp_path: Path, watcher: Watcher) -> None:
    with pytest.raises(LayoutError, match=r"memory.*is the scheduler running\?"):
        watcher.look()
    (tmp_path / "memory").symlink_to("/proc/1073741824/fd/3")  # after a kill -9
    with pytest.raises(LayoutError, match="is the scheduler running"):
        watcher.look()


def test_the_memory_of_a_run_that_ended_is_let_go(tmp_path: Path, watcher: Watcher) -> None:
    with published(tmp_path):
        watcher.look()
        (tmp_path / "memory").unlink()
        with pytest.raises(LayoutError):
            watcher.look()


def test_it_goes_over_to_the_next_run(tmp_path: Path, watcher: Watcher) -> None:
    def live(world: World) -> list[int]:
        publish(world, tmp_path)
        return [int(value) for value in watcher.look().gateways["jobs_live"]]

    with published(tmp_path) as first, published(tmp_path) as second:
        first.count(0, jobs_live=1)
        second.count(0, jobs_live=2)
        assert live(first) == [1, 0]
        assert live(second) == [2, 0]
        assert live(first) == [1, 0]
