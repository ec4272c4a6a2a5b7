import threading
from pathlib import Path

import pytest

from scheduler.stats.store import FileStore, MemoryStore, SnapshotStore


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "snapshot.json")


def test_a_store_gives_back_the_last_snapshot(store: SnapshotStore) -> None:
    assert store.latest() is None
    store.publish(b"one")
    store.publish(b"two")
    assert store.latest() == b"two"


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    store = FileStore(path)
    versions = [bytes([digit]) * 200_000 for digit in b"0123456789"]
    store.publish(versions[0])
    seen: set[bytes] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            for version in versions:
                store.publish(version)
    finally:
        ended.set()
        reader.join(timeout=10)
    assert not reader.is_alive()
    assert seen
    assert seen <= set(versions)


def test_a_draft_left_by_a_kill_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json.new").write_bytes(b"half of a")
    FileStore(tmp_path / "snapshot.json").publish(b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot.json"]


def test_the_last_good_file_stays_when_a_write_fails(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "snapshot.json")
    store.publish(b"good")
    # A folder in the draft's place fails for every user; permissions don't stop root.
    (tmp_path / "snapshot.json.new").mkdir()
    with pytest.raises(OSError, match=r"snapshot\.json\.new"):
        store.publish(b"bad")
    assert store.latest() == b"good"


def test_a_draft_that_cannot_take_its_place_is_removed(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").mkdir()
    with pytest.raises(IsADirectoryError):
        FileStore(tmp_path / "snapshot.json").publish(b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot.json"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "missing" / "snapshot.json")
    with pytest.raises(FileNotFoundError):
        store.publish(b"data")
    assert store.latest() is None
