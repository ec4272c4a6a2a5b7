from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from scheduler.config import Config, load
from scheduler.config_reference import render, render_markdown, tables, write

ROOT = Path(__file__).parent.parent


def test_the_committed_files_are_up_to_date() -> None:
    again = "run `scripts/generate`"
    assert (ROOT / "configs" / "default.toml").read_text() == render(), again
    assert (ROOT / "docs" / "configuration.md").read_text() == render_markdown(), again


def test_write_rewrites_both_files(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "docs").mkdir()
    write(tmp_path)
    assert (tmp_path / "configs" / "default.toml").read_text() == render()
    assert (tmp_path / "docs" / "configuration.md").read_text() == render_markdown()


def test_the_rendered_file_holds_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "default.toml"
    path.write_text(render())
    assert load(path, {}) == Config()


def all_keys(struct: type[Struct], path: str = "") -> set[str]:
    keys = set()
    for info in msgspec.structs.fields(struct):
        if isinstance(info.type, type) and issubclass(info.type, Struct):
            keys |= all_keys(info.type, f"{path}{info.name}.")
        else:
            keys.add(path + info.name)
    return keys


def test_every_setting_is_there_with_its_help() -> None:
    shown = {
        f"{table.path}.{setting.name}".lstrip("."): setting.help
        for table in tables()
        for setting in table.settings
    }
    assert shown.keys() == all_keys(Config)
    assert [key for key, text in shown.items() if not text] == []


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("server.port", "0 to 65,535"),
        ("drain_seconds", "0 to 86,400 seconds"),
        ("scheduler.job_timeout_seconds", "above 0 to 86,400 seconds"),
        ("scheduler.web_task_segmentation.pause_ms", "1 to 3,600,000 milliseconds"),
        ("limits.arena_bytes", "1 KiB to 1 TiB; 67,108,864 is 64 MiB"),
        ("scheduler.load_balancer.strategy", '"least_connections" or "least_utilization"'),
        ("scheduler.core_services.asr_service_id", "text of at most 64 characters"),
        ("cpu_affinity.gateway", "list of 0 to 4,095"),
        ("server.public_stats", "true or false"),
    ],
)
def test_bounds_are_said_with_their_unit(key: str, allowed: str) -> None:
    path, _, name = key.rpartition(".")
    (table,) = [table for table in tables() if table.path == path]
    (setting,) = [setting for setting in table.settings if setting.name == name]
    assert setting.allowed == allowed


def test_no_line_of_the_file_is_long() -> None:
    assert [line for line in render().splitlines() if len(line) > 100] == []
