"""Programs in C are built where they must be, and what is wrong is said."""

import os
import stat
from pathlib import Path

import pytest

from native_bench.build import SANITIZERS, SOURCES, build
from scheduler.errors import ProgramError

PROGRAMS = sorted(folder.name for folder in SOURCES.iterdir() if folder.name != "shared")


def newest_source(program: str) -> float:
    folders = (SOURCES / program, SOURCES / "shared")
    return max(file.stat().st_mtime for folder in folders for file in folder.iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_builds_without_warnings(program: str, tmp_path: Path) -> None:
    path = build(program, tmp_path, ("-Wshadow", "-Wstrict-prototypes", *SANITIZERS))
    assert path.stat().st_mode & stat.S_IXUSR
    assert list(tmp_path.iterdir()) == [path]


def test_it_builds_again_only_where_a_source_is_newer(tmp_path: Path) -> None:
    path = build("relay", tmp_path)
    first = path.stat()
    assert build("relay", tmp_path).stat().st_ino == first.st_ino
    before = newest_source("relay") - 1
    os.utime(path, (before, before))
    assert build("relay", tmp_path).stat().st_ino != first.st_ino


def test_what_the_compiler_says_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"no-such-header\.h: No such file"):
        build("relay", tmp_path, ("-include", "no-such-header.h"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ProgramError, match="no C compiler 'no-such-compiler'; install gcc"):
        build("relay", tmp_path)
