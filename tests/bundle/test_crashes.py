"""Bundles of deaths: written into the runtime folder, and only the newest kept."""

import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from scheduler.bundle.crashes import keep
from scheduler.config import Config
from scheduler.errors import BundleError, LayoutError
from scheduler.supervisor.runtime_dir import RuntimeDir
from tests.harness import poll
from tests.stats.world import make_world

WHY = "dispatcher (pid 7) ended: SIGKILL"


def name(hour: int, child: str = "gateway-0") -> str:
    return f"20260131T{hour:02}1415Z-{child}.tar.gz"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    with make_world() as world, closing(RuntimeDir(tmp_path)) as runtime:
        runtime.publish_memory(world.segment.fd)
        runtime.publish_settings(Config())
        yield tmp_path


def kept(runtime: Path) -> list[str]:
    return sorted(path.name for path in (runtime / "crashes").iterdir())


def test_it_is_kept_for_its_user_alone_with_the_reason(runtime: Path) -> None:
    path = keep(runtime, name(3), why=WHY, bundles_max=8)
    assert path == runtime / "crashes" / name(3)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        summary = archive.extractfile("summary.txt")
        assert summary is not None
        assert WHY.encode() in summary.read()


def test_only_the_newest_stay_and_nothing_else_goes(runtime: Path) -> None:
    folder = runtime / "crashes"
    folder.mkdir()
    (folder / "notes.txt").touch()
    (folder / "00000000-mine.tar.gz").touch()
    for hour, child in ((3, "stats"), (1, "gateway-12"), (2, "dispatcher")):
        (folder / name(hour, child)).touch()
    keep(runtime, name(4), why=WHY, bundles_max=2)
    mine = ["00000000-mine.tar.gz", "notes.txt"]
    assert kept(runtime) == sorted([*mine, name(3, "stats"), name(4)])
    keep(runtime, name(5), why=WHY, bundles_max=1)
    assert kept(runtime) == sorted([*mine, name(5)])


def test_the_new_one_stays_also_where_the_clock_was_set_back(runtime: Path) -> None:
    (runtime / "crashes").mkdir()
    for hour in (5, 6, 7):
        (runtime / "crashes" / name(hour)).touch()
    keep(runtime, name(1), why=WHY, bundles_max=2)
    assert kept(runtime) == [name(1), name(7)]


def test_what_a_killed_process_left_half_written_is_removed(runtime: Path) -> None:
    (runtime / "crashes").mkdir()
    (runtime / "crashes" / f".{name(1)}.0123abcd.new").write_bytes(b"half")
    keep(runtime, name(2), why=WHY, bundles_max=8)
    assert kept(runtime) == [name(2)]


def test_a_link_in_the_place_of_the_folder_is_not_followed(runtime: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (runtime / "crashes").symlink_to(target)
    with pytest.raises(BundleError, match="is a link"):
        keep(runtime, name(1), why=WHY, bundles_max=8)
    assert list(target.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_said(runtime: Path) -> None:
    (runtime / "crashes").touch()
    with pytest.raises(BundleError, match="crashes: File exists"):
        keep(runtime, name(1), why=WHY, bundles_max=8)


def test_without_a_scheduler_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no scheduler runs"):
        keep(tmp_path, name(1), why=WHY, bundles_max=8)
    assert list(tmp_path.rglob("*.tar.gz")) == []


# --- as a process -----------------------------------------------------------------------------


def command(runtime: Path, supervisor_pid: int) -> list[str]:
    arguments = (str(runtime), name(1), WHY, "8", str(supervisor_pid))
    return [sys.executable, "-m", "scheduler.bundle", *arguments]


def test_the_process_does_it_and_says_nothing(runtime: Path) -> None:
    done = subprocess.run(
        command(runtime, os.getpid()), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(runtime) == [name(1)]


def test_the_process_says_on_one_line_what_went_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, os.getpid()), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no scheduler runs in")
    assert done.stderr.count("\n") == 1


def test_it_does_nothing_for_a_supervisor_that_is_gone(runtime: Path) -> None:
    done = subprocess.run(command(runtime, 1 << 22), capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert not (runtime / "crashes").exists()


STARTER = """
import os, subprocess, sys, time
command = [*sys.argv[1:-1], str(os.getpid())]
print(subprocess.Popen(command).pid, flush=True)
time.sleep(60)
"""


def test_it_ends_with_its_supervisor_and_is_the_first_to_go_when_memory_is_short(
    runtime: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, *command(runtime, 0)], stdout=subprocess.PIPE
    ) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        score = Path(f"/proc/{pid}/oom_score_adj")
        poll("its score", lambda: score.read_text() == "1000\n", seconds=30)
        os.kill(pid, signal.SIGSTOP)  # so that it doesn't end by itself
        os.kill(supervisor.pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    poll("its end", gone, seconds=30)
