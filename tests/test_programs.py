import os
from pathlib import Path

import pytest

from scheduler.config import ENV_PREFIX, load
from scheduler.errors import ProgramError
from scheduler.programs import running, scheduler_environment, variables

MODULE = """
import sys
print("ready", flush=True)
line = sys.stdin.readline()
if not line:
    sys.exit(0)
print("got", line.strip())
print("trouble", file=sys.stderr)
sys.exit(int(line))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "talking.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "talking"


def test_a_program_is_told_and_heard(tmp_path: Path, module: str) -> None:
    with running(tmp_path, "it", module, talks=True, environment=os.environ) as program:
        program.expect(b"ready\n")
        program.tell(b"0")
        assert program.finish(30) == b"got 0\n"


def test_a_failure_shows_the_end_of_its_log(tmp_path: Path, module: str) -> None:
    with running(tmp_path, "it", module, talks=True, environment=os.environ) as program:
        program.expect(b"ready\n")
        program.tell(b"3")
        with pytest.raises(ProgramError, match=r"(?s)it: it failed \(exit code 3\).*trouble"):
            program.finish(30)


def test_what_ends_instead_of_becoming_ready_is_told_at_once(tmp_path: Path) -> None:
    with (
        running(tmp_path, "it", "no.such.module") as program,
        pytest.raises(ProgramError, match=r"(?s)it: not within .*ready.*No module named"),
    ):
        program.wait("it is ready", lambda: None)


def test_leaving_the_block_ends_it(tmp_path: Path, module: str) -> None:
    with running(tmp_path, "it", module, talks=True, environment=os.environ) as program:
        program.expect(b"ready\n")
    assert program.process.poll() is not None


def test_it_can_be_ended_at_once(tmp_path: Path, module: str) -> None:
    with running(tmp_path, "it", module, talks=True, environment=os.environ) as program:
        program.expect(b"ready\n")
        program.kill()
        program.kill()
    assert program.process.returncode == -9


def test_settings_become_variables_that_the_scheduler_reads() -> None:
    config = load(None, variables({"gateways": 2, "server.host": "::1", "server.port": 0}))
    assert (config.gateways, config.server.host, config.server.port) == (2, "::1", 0)


def test_nothing_of_the_users_own_settings_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}GATEWAYS", "7")
    environment = scheduler_environment(tmp_path, {"drain_seconds": 3})
    config = load(None, environment)
    assert config.gateways == 0
    assert config.drain_seconds == 3
    assert config.runtime_path == tmp_path
    assert config.server.port == 0
