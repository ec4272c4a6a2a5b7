"""Comparing with an earlier revision: that of this repository, and of one made for the test."""

import subprocess
from pathlib import Path

import click.testing
import pytest

from native_bench import compare_command
from native_bench.compare import (
    CompareError,
    NoBenchmarksError,
    Report,
    UnknownRevisionError,
    WrongCodeError,
    check_code,
    compare,
)
from native_bench.suite_runs import ROOT, Settings, suite_path
from native_bench.verdicts import Comparison, Verdict

SMALL = Settings(seconds_max=0.01, full=False, rivals=False)
SUITE = """
from scheduler import COUNT, work

def test_work(benchmark):
    assert benchmark(work) == sum(range(COUNT))

def test_{extra}(benchmark):
    benchmark(work)
"""
CODE = """
COUNT = {count}

def work():
    return sum(range(COUNT))
"""


class Repository:
    """A repository whose first commit has no benchmark, and its second one of 1,000 additions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("scheduler/__init__.py", CODE.format(count=1_000))
        self.git("init", "--quiet")
        self.commit("without")
        self.write(str(suite_path("work")), SUITE.format(extra="gone"))
        self.commit("with")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout

    def commit(self, subject: str) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "--no-gpg-sign", "-m", subject)

    def compare(self, revision: str, *suites: str, rounds: int = 1) -> Report:
        return compare(revision, suites, rounds, SMALL, root=self.folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    return Repository(folder)


def test_each_tree_runs_its_own_code(repository: Repository) -> None:
    """Twenty times the work, not committed yet, is found, and the other way round."""
    repository.write("scheduler/__init__.py", CODE.format(count=20_000))
    found = repository.compare("HEAD", rounds=2).of(Verdict.REGRESSION)
    assert {each.name for each in found} == {"work/work", "work/gone"}
    assert {len(times) for each in found for times in (each.before_ns, each.after_ns)} == {2}

    repository.commit("slower")
    repository.write("scheduler/__init__.py", CODE.format(count=1_000))
    report = repository.compare("HEAD")
    assert report.of(Verdict.REGRESSION) == []
    assert {each.name for each in report.of(Verdict.IMPROVEMENT)} == {"work/work", "work/gone"}


def test_nothing_is_left_behind(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = repository.folder.parent / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    repository.compare("HEAD")
    repository.write(str(suite_path("work")), "raise ValueError")
    with pytest.raises(Exception, match="ValueError"):
        repository.compare("HEAD")
    assert list(temporary.iterdir()) == []
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_only_what_both_have_is_compared_and_changed_files_are_named(
    repository: Repository,
) -> None:
    repository.write(str(suite_path("work")), SUITE.format(extra="new"))
    repository.write(str(suite_path("other")), SUITE.format(extra="new"))
    repository.write("tests/benchmarks/helper.py", "")
    report = repository.compare("HEAD")
    assert [each.name for each in report.comparisons] == ["work/work"]
    helper, suite = report.doubts
    assert "helper.py is not the same" in helper
    assert f"{suite_path('work')} is not the same" in suite


def test_what_can_not_be_compared_is_said(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(UnknownRevisionError, match="'HEAD~7' is no commit"):
        repository.compare("HEAD~7")
    with pytest.raises(UnknownRevisionError, match="'--all' is no commit"):
        repository.compare("--all")
    with pytest.raises(NoBenchmarksError, match="does not have any benchmark"):
        repository.compare("HEAD~1")
    with pytest.raises(NoBenchmarksError, match="does not have work"):
        repository.compare("HEAD~1", "work")
    with pytest.raises(NoBenchmarksError, match="no such suite: play; there are work"):
        repository.compare("HEAD", "play")
    repository.write(str(suite_path("work")), SUITE.format(extra="new").replace("_work", "_all"))
    with pytest.raises(NoBenchmarksError, match="of the same name"):
        repository.compare("HEAD")


def test_code_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """A tree without the package would run the one that is installed."""
    check_code(ROOT)
    with pytest.raises(WrongCodeError, match=str(ROOT / "scheduler")):
        check_code(tmp_path)


def test_this_tree_is_compared_with_its_head() -> None:
    report = compare("HEAD", ["channel", "dispatch"], 1, SMALL)
    names = {each.name.partition("[")[0] for each in report.comparisons}
    assert names == {"channel/submits", "channel/assigns_with_payload", "dispatch/job"}
    assert all(each.ratio > 0 for each in report.comparisons)


# --- the command -------------------------------------------------------------------------------


LONG_NAME = "placement/choose_passing_over[100000-256]"


@pytest.mark.parametrize(("factor", "code"), [(1.5, 1), (1.0, 0), (0.5, 0)])
def test_a_regression_is_the_exit_code(
    factor: float, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = [100.0, 104.0, 97.0, 103.0, 101.0]
    comparison = Comparison(LONG_NAME, times, [factor * time for time in times])
    found = Report("HEAD", [comparison], ["a reason"])
    monkeypatch.setattr(compare_command, "compare", lambda *_: found)
    run = click.testing.CliRunner().invoke(
        compare_command.compare_command, ["HEAD", "--json", str(tmp_path / "found.json")]
    )
    assert run.exit_code == code
    assert LONG_NAME in run.output
    assert "doubt: a reason" in run.output
    assert LONG_NAME.encode() in (tmp_path / "found.json").read_bytes()


def test_an_error_is_another_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Report:
        raise CompareError("there is nothing")

    monkeypatch.setattr(compare_command, "compare", fail)
    run = click.testing.CliRunner().invoke(compare_command.compare_command, ["HEAD"])
    assert run.exit_code == 2
    assert "there is nothing" in run.output
