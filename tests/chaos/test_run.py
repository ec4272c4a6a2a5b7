"""The harness as it is used: a minute of faults, and an end by Ctrl-C."""

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.harness import poll

SEED = 307
"""Its first minute has 26 of the 28 kinds of faults and, with nothing missed, 32 kills."""

COMMAND = (sys.executable, "-m", "tests.chaos", "--seed", str(SEED))

RUN_SECONDS_MAX = 280
SIGNALLED_SECONDS_MAX = 60
KILLS_MIN = 25


def remains(pid: int) -> list[str]:
    """Return what a harness with that pid would leave on the machine."""
    mark = f"lingua-chaos-{pid}"
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if mark in line]
    places = (Path("/run/netns"), Path(tempfile.gettempdir()))
    return [*mounts, *(str(path) for place in places for path in place.glob(f"{mark}*"))]


@pytest.mark.timeout(RUN_SECONDS_MAX + 20)
def test_a_minute_of_faults_breaks_no_promise(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with subprocess.Popen(
        [*COMMAND, "--minutes", "1", "--keep", str(kept)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as harness:
        shown, _ = harness.communicate(timeout=RUN_SECONDS_MAX)
    assert harness.returncode == 0, shown
    kills = re.search(r"(\d+) kills; seconds until a new session", shown)
    assert kills is not None, shown
    assert int(kills[1]) >= KILLS_MIN, shown
    assert "all promises were kept" in shown
    assert f"--seed {SEED}" in shown
    assert (kept / "harness.jsonl").stat().st_size > 0
    assert not remains(harness.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_and_removes_everything_when_signalled(number: int) -> None:
    with subprocess.Popen(
        [*COMMAND, "--minutes", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as harness:
        poll("its workers run", lambda: children(harness.pid) > 3, seconds=SIGNALLED_SECONDS_MAX)
        assert remains(harness.pid)
        harness.send_signal(number)
        shown, _ = harness.communicate(timeout=SIGNALLED_SECONDS_MAX)
    assert harness.returncode == 130, shown
    assert "interrupted" in shown
    assert not remains(harness.pid)


def children(pid: int) -> int:
    """Return how many children a process has."""
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
