import re
import subprocess
from pathlib import Path

import pytest

from scheduler import origin


def test_the_commit_is_that_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    monkeypatch.chdir(tmp_path)
    found = origin.commit().removesuffix("-dirty")
    assert head.startswith(found) if head else found == "unknown"


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert origin.commit() == "unknown"


def test_the_machine_is_told_by_cores_kernel_and_python() -> None:
    assert re.fullmatch(r"\d+ cores of .+, Linux \S+, Python 3\.\d+\.\d+\S*", origin.machine())
