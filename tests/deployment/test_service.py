"""The systemd unit and the kernel settings fit the program and its settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.cli import EXIT_CONFIG
from scheduler.config import Config, load
from scheduler.ipc.boot import BOOT_FAILURE_EXIT
from scheduler.supervisor.policy import CRASH_LOOP_EXIT
from scheduler.supervisor.sockets import BACKLOG

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "configs" / "systemd" / "lingua-scheduler.service"
SYSCTL = ROOT / "configs" / "sysctl.d" / "90-lingua-scheduler.conf"
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
GRACE_SECONDS = 10


def unit() -> dict[str, list[str]]:
    """Return the values of each key of the unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def one(key: str) -> str:
    (value,) = unit()[key]
    return value


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_unit_leaves_room_for_each_settings_file(path: Path) -> None:
    config = load(path, {})
    assert int(one("TimeoutStopSec")) >= config.drain_seconds + GRACE_SECONDS
    assert int(one("LimitNOFILE")) > config.limits.connections_per_gateway_max


def test_no_restart_where_none_would_help() -> None:
    prevented = {int(code) for code in one("RestartPreventExitStatus").split()}
    assert {BOOT_FAILURE_EXIT, EXIT_CONFIG} <= prevented
    assert CRASH_LOOP_EXIT not in prevented
    assert one("Restart") == "on-failure"


def test_the_supervisor_ends_its_processes() -> None:
    assert one("KillMode") == "mixed"
    assert one("OOMPolicy") == "continue"


def test_the_runtime_folder_is_the_one_systemd_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict(setting.split("=", 1) for setting in unit()["Environment"])
    ours = {name: value for name, value in variables.items() if name.startswith("SCHEDULER_")}
    assert load(None, ours).runtime_path == Path("/run") / one("RuntimeDirectory")
    assert one("RuntimeDirectoryMode") == "0700"
    assert Config().runtime_path != load(None, ours).runtime_path
    assert one("RuntimeDirectoryPreserve") == "yes", "bundles of crashes must outlive a restart"


def test_the_memory_it_looks_up_stays_visible() -> None:
    assert "ProcSubset" not in unit()
    assert "PrivateUsers" not in unit()


def test_the_service_s_user_is_made() -> None:
    made = (ROOT / "configs" / "sysusers.d" / "lingua-scheduler.conf").read_text()
    assert re.search(rf"^u {one('User')} ", made, re.MULTILINE)
    assert one("Group") == one("User")


def test_kernel_settings_are_well_formed_and_hold_the_backlog() -> None:
    lines = [line for line in SYSCTL.read_text().splitlines() if line and line[0] != "#"]
    found = [re.fullmatch(r"-?([\w.]+) = (\d+)", line) for line in lines]
    settings = {match[1]: int(match[2]) for match in found if match}
    assert settings["net.core.somaxconn"] >= BACKLOG
    assert len(settings) == len(lines)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    path = tmp_path / UNIT.name
    program = one("ExecStart").split()[0]
    path.write_text(UNIT.read_text().replace(program, sys.executable))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_it = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert (result.returncode, about_it) == (0, [])
