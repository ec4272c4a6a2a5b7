import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest

from scheduler.bundle.write import DRAFT_SUFFIX, Member, write_archive
from scheduler.errors import BundleError

MEMBERS = [
    Member("manifest.json", b"{}"),
    Member("flight/stats.jsonl", b"1\n2\n"),
    Member("a", b""),
]
TIME_S = 1_700_000_000


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {one.name: cast("IO[bytes]", archive.extractfile(one)).read() for one in archive}


def test_members_come_out_as_they_went_in_and_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    assert write_archive(path, MEMBERS, time_s=TIME_S) == path.stat().st_size
    assert list(unpacked(path).items()) == MEMBERS
    with tarfile.open(path) as archive:
        for one in archive:
            assert (one.uid, one.uname, one.mode, one.mtime) == (0, "", 0o600, TIME_S)
            assert one.isreg()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"]
    for path in paths:
        write_archive(path, MEMBERS, time_s=TIME_S)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_its_user_alone_may_read_it_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    write_archive(path, MEMBERS, time_s=TIME_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_is_replaced_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("precious")
    path.chmod(0o644)
    with pytest.raises(BundleError, match=r"is there already; .*--force"):
        write_archive(path, MEMBERS, time_s=TIME_S)
    assert path.read_text() == "precious"
    write_archive(path, MEMBERS, time_s=TIME_S, replace=True)
    assert list(unpacked(path).items()) == MEMBERS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("leads_somewhere", [True, False])
def test_a_link_is_never_written_through(tmp_path: Path, leads_somewhere: bool) -> None:
    target, path = tmp_path / "target", tmp_path / "b.tar.gz"
    if leads_somewhere:
        target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(BundleError, match="is there already"):
        write_archive(path, MEMBERS, time_s=TIME_S)
    write_archive(path, MEMBERS, time_s=TIME_S, replace=True)
    assert not path.is_symlink()
    assert target.read_text() == "precious" if leads_somewhere else not target.exists()


def test_who_reads_meanwhile_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("old")
    seen = []

    def members() -> Iterator[Member]:
        for member in MEMBERS:
            seen.append(path.read_text())
            (draft,) = tmp_path.glob(f".*{DRAFT_SUFFIX}")
            assert stat.S_IMODE(draft.stat().st_mode) == 0o600
            yield member

    write_archive(path, members(), time_s=TIME_S, replace=True)
    assert seen == ["old"] * len(MEMBERS)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def members() -> Iterator[Member]:
        yield MEMBERS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "b.tar.gz", members(), time_s=TIME_S)
    assert list(tmp_path.iterdir()) == []


def test_where_it_can_t_be_written_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"can't write .*: No such file or directory"):
        write_archive(tmp_path / "missing" / "b.tar.gz", MEMBERS, time_s=TIME_S)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match=r"can't write .*folder: Is a directory"):
        write_archive(tmp_path / "folder", MEMBERS, time_s=TIME_S, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
