import os
from pathlib import Path

import pytest

from scheduler.bundle.files import TAIL_BYTES_MAX, read_tail, read_whole
from scheduler.errors import BundleError

LINE = b"0123456789abcde\n"


def test_a_short_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("first\nsecond, unfinished: ü")
    assert read_tail(path) == "first\nsecond, unfinished: ü"
    path.write_bytes(b"")
    assert read_tail(path) == ""


@pytest.mark.parametrize("before", [0, 1, len(LINE) - 1, len(LINE), 3 * TAIL_BYTES_MAX])
def test_a_long_file_gives_its_last_whole_lines(tmp_path: Path, before: int) -> None:
    path = tmp_path / "log"
    lines = TAIL_BYTES_MAX // len(LINE)
    path.write_bytes(b"token=" + b"x" * before + b"\n" + LINE * lines)
    assert read_tail(path) == (LINE * lines).decode(), "nothing of the line before it"


def test_a_line_cut_in_the_middle_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"token=" + b"x" * TAIL_BYTES_MAX + b"\nthe last\n")
    assert read_tail(path) == "the last\n"


def test_one_endless_line_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (TAIL_BYTES_MAX + 5))
    assert read_tail(path) == ""


def test_what_is_no_utf_8_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\xff\n")
    assert read_tail(path) == "a\ufffd\n"


def test_a_link_to_a_log_is_followed(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("line\n")
    (tmp_path / "log").symlink_to(tmp_path / "log.1")
    assert read_tail(tmp_path / "log") == "line\n"


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BundleError, match="is no file"):
            read_tail(path)
        with pytest.raises(BundleError, match="is no file"):
            read_whole(path, 10)
    with pytest.raises(BundleError, match=r"can't read .*missing: No such file"):
        read_tail(tmp_path / "missing")
    with pytest.raises(BundleError, match="Is a directory"):
        read_tail(tmp_path)


def test_a_whole_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_whole(path, 5) == b"12345"
    with pytest.raises(BundleError, match="is longer than 4 bytes"):
        read_whole(path, 4)
    with pytest.raises(BundleError, match=r"can't read .*missing: No such file"):
        read_whole(tmp_path / "missing", 5)
