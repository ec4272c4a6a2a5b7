import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.config import Config, ServerSettings, without_secrets
from scheduler.errors import StartError
from scheduler.supervisor.runtime_dir import (
    CRASHES_NAME,
    Endpoints,
    RuntimeDir,
    read_endpoints,
    read_settings,
)

SECRET = "open sesame"  # noqa: S105


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "scheduler"
    runtime = RuntimeDir(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path / "supervisor.pid").read_text() == f"{os.getpid()}\n"
    finally:
        runtime.close()


def test_a_second_instance_is_told_who_holds_it(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    try:
        with pytest.raises(StartError, match=rf"another instance.*pid {os.getpid()}.*runtime_dir"):
            RuntimeDir(tmp_path / "run")
        assert (tmp_path / "run" / "supervisor.pid").exists()
    finally:
        runtime.close()
    RuntimeDir(tmp_path / "run").close()


def test_what_is_published_goes_at_the_end(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    fd = os.memfd_create("segment")
    os.write(fd, b"content")
    endpoints = Endpoints("127.0.0.1:1", "127.0.0.1:2", os.getpid())
    assert read_endpoints(tmp_path) is None
    (tmp_path / "snapshot.json").write_text("{}")
    runtime.publish_memory(fd)
    runtime.publish_endpoints(endpoints)
    assert (tmp_path / "memory").read_bytes() == b"content"
    assert read_endpoints(tmp_path) == endpoints
    runtime.close()
    os.close(fd)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.json"]


def test_settings_are_there_while_it_runs_and_for_this_user_alone(tmp_path: Path) -> None:
    config = Config(gateways=3, server=ServerSettings(admin_token=SECRET))
    tmp_path.chmod(0o755)
    before = os.umask(0)  # were the mode left to it, everybody could write
    try:
        with closing(RuntimeDir(tmp_path)) as runtime:
            assert read_settings(tmp_path) is None
            runtime.publish_settings(config)
            assert read_settings(tmp_path) == without_secrets(config)
            changed = Config(gateways=4)
            runtime.publish_settings(changed)
            runtime.publish_endpoints(Endpoints("", "", 1))
            assert read_settings(tmp_path) == changed
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")
            }
            assert modes == {"settings.json": 0o600, "endpoints.json": 0o600}
    finally:
        os.umask(before)
    assert read_settings(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_no_secret_gets_into_the_folder(tmp_path: Path) -> None:
    with closing(RuntimeDir(tmp_path)) as runtime:
        runtime.publish_settings(Config(server=ServerSettings(admin_token=SECRET)))
        for path in tmp_path.iterdir():
            assert SECRET.encode() not in path.read_bytes(), path.name


def test_bundles_of_deaths_outlive_the_scheduler(tmp_path: Path) -> None:
    with closing(RuntimeDir(tmp_path)):
        (tmp_path / CRASHES_NAME).mkdir()
        (tmp_path / CRASHES_NAME / "one").touch()
    RuntimeDir(tmp_path).close()
    assert (tmp_path / CRASHES_NAME / "one").exists()


def test_what_a_killed_instance_left_is_replaced(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from scheduler.supervisor.runtime_dir import *;"
        "r = RuntimeDir(Path(sys.argv[1])); r.publish_memory(0);"
        "r.publish_endpoints(Endpoints('', '', 1)); r.publish_settings(Config());"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=30, check=False)
    assert (tmp_path / "memory").is_symlink()
    assert read_settings(tmp_path) == Config()
    runtime = RuntimeDir(tmp_path)
    assert read_endpoints(tmp_path) is None
    assert read_settings(tmp_path) is None
    runtime.publish_memory(0)
    runtime.close()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StartError, match=r"is a link; set runtime_dir"):
        RuntimeDir(tmp_path / "link")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"can't use the runtime folder .*set runtime_dir"):
        RuntimeDir(tmp_path / "file")


def test_a_folder_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(StartError, match="chmod go-w"):
        RuntimeDir(tmp_path / "open")


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path
    if os.getuid() == 0:
        path = tmp_path / "theirs"
        path.mkdir()
        os.chown(path, 12_345, -1)
    else:
        path = Path("/")
    with pytest.raises(StartError, match="belongs to user"):
        RuntimeDir(path)
