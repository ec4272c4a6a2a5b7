"""The command as it is typed, over a runtime folder that this test plays the scheduler in."""

import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.bundle.contents import LOGS_MAX
from scheduler.cli import main
from scheduler.config import Config
from scheduler.supervisor.runtime_dir import RuntimeDir
from tests.stats.world import make_world


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run"
    with make_world() as world, closing(RuntimeDir(path)) as runtime:
        runtime.publish_memory(world.segment.fd)
        runtime.publish_settings(Config())
        yield path


def ended(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[object, str, str]:
    """Run the command in this process; return its exit code, standard output and error."""
    with pytest.raises(SystemExit) as ending:
        main(["bundle", *options])
    return ending.value.code, *capsys.readouterr()


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one) for one in archive}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_it_says_what_is_in_it_and_what_was_removed(
    runtime_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, output = tmp_path / "a.log", tmp_path / "out.tar.gz"
    log.write_text("token=abc token=def Authorization: Basic xyz\n")
    code, out, err = ended(
        capsys,
        *("--runtime-dir", str(runtime_dir), "--output", str(output), "--log", str(log)),
        *("--why", "nothing works"),
    )
    assert (code, err) == (0, "")
    first, *rows, left_out, removed, warning = out.splitlines()
    assert first.startswith(f"{output}, ")
    assert [row.split()[0] for row in rows] == [
        *("manifest.json", "summary.txt", "flight/", "decisions.jsonl", "counters.json"),
        *("latency.json", "frame.json", "nodes.json", "processes.json", "settings.json", "logs/"),
    ]
    assert left_out.startswith("left out: snapshot.json: ")
    assert removed == "removed as secret: authorization (1), token (2)"
    assert "look before you send it" in warning
    found = members(output)
    assert json.loads(found["manifest.json"])["why"] == "nothing works"
    assert found["logs/0-a.log"] == b"token=*** token=*** Authorization: ***\n"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_without_a_name_it_is_in_the_current_folder(
    runtime_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SCHEDULER_RUNTIME_DIR", str(runtime_dir))  # as any setting
    code, out, _ = ended(capsys)
    assert code == 0
    (path,) = folder.iterdir()
    assert path.match("lingua-scheduler-bundle-*Z.tar.gz")
    assert out.startswith(f"{path.name}, ")
    assert "removed as secret: nothing" in out


def test_what_is_there_is_replaced_with_force_only(
    runtime_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.tar.gz"
    output.write_text("precious")
    options = ("--runtime-dir", str(runtime_dir), "--output", str(output))
    code, out, err = ended(capsys, *options)
    assert (code, out) == (1, "")
    assert "is there already" in err
    assert output.read_text() == "precious"
    assert ended(capsys, *options, "--force")[0] == 0
    assert "summary.txt" in members(output)


def test_without_a_scheduler_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scheduler", "bundle", "--runtime-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"lingua-scheduler: no scheduler runs in {tmp_path}: start it")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_refused(
    runtime_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = ["--log", str(tmp_path / "a.log")] * (LOGS_MAX + 1)
    code, _, err = ended(capsys, "--runtime-dir", str(runtime_dir), *logs)
    assert code == 2
    assert f"at most {LOGS_MAX} log files" in err
    code, _, err = ended(capsys, "--runtime-dir", str(runtime_dir), *logs[:2])
    assert code == 1
    assert "a.log: No such file" in err
