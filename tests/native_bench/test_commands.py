"""The commands of the benchmarks: options from settings, results into files."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from msgspec import Struct

from native_bench import commands, report
from native_bench.benchmarks import BENCHMARKS, Benchmark
from native_bench.results import Result, make_result, read
from scheduler.errors import ProgramError


class Settings(Struct, frozen=True):
    rounds: int = 3
    sizes: tuple[int, ...] = (1, 2)


def measure(settings: Settings, tell: Callable[[str], object]) -> Result:
    tell("now")
    if settings.rounds > 100:
        raise ProgramError("it is broken")
    return make_result("fake", settings=settings, figures={}, tables=[], doubts=[], samples=[])


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    fake = Benchmark("fake", sys.modules[__name__], measure, Settings(), Settings(rounds=1))
    for name in tuple(BENCHMARKS):
        monkeypatch.delitem(BENCHMARKS, name)
    monkeypatch.setitem(BENCHMARKS, "fake", fake)
    made = click.Group()
    commands.add_to(made)
    return made


@pytest.mark.parametrize(
    ("options", "rounds", "sizes"),
    [
        ([], 3, [1, 2]),
        (["--quick"], 1, [1, 2]),
        (["--rounds", "7", "--sizes", "5", "--sizes", "6"], 7, [5, 6]),
        (["--quick", "--rounds", "7"], 7, [1, 2]),
    ],
)
def test_options_replace_settings(
    group: click.Group, tmp_path: Path, options: list[str], rounds: int, sizes: list[int]
) -> None:
    path = tmp_path / "fake.json"
    run = CliRunner().invoke(group, ["fake", *options, "--json", str(path)])
    assert run.exit_code == 0, run.output
    assert read(path).settings == {"rounds": rounds, "sizes": sizes}


def test_a_failed_program_is_told(group: click.Group) -> None:
    run = CliRunner().invoke(group, ["fake", "--rounds", "101"])
    assert run.exit_code == 1
    assert "it is broken" in run.output


def test_all_keeps_what_it_finds(group: click.Group, tmp_path: Path) -> None:
    run = CliRunner().invoke(group, ["all", "--quick", "--folder", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert read(tmp_path / "fake.json").settings["rounds"] == 1


def test_quick_figures_are_not_kept_as_results(group: click.Group) -> None:
    before = {path.name for path in report.RESULTS.glob("*")}
    run = CliRunner().invoke(group, ["all", "--quick"])
    assert run.exit_code == 2
    assert {path.name for path in report.RESULTS.glob("*")} == before
