"""Compares the benchmarks of the working tree with those of an earlier revision.

The revision is checked out beside the tree, and its own benchmarks run on its own code. Both run
in turns on the same machine, in the order ABBA, so that neither has it to itself more often. The
bias: both use the packages installed now; and where a benchmark itself was changed under the same
name, what it measures may have changed, which is noted as a doubt.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from native_bench.suite_runs import (
    ROOT,
    SUITES_FOLDER,
    Settings,
    run_in,
    run_suites,
    suite_path,
    suites_of,
)
from native_bench.verdicts import Comparison, Verdict
from scheduler.errors import SchedulerError

DISPATCH = "dispatch"
"""The suite that is no test: the dispatcher's process over its pipes, by its CPU time."""

DEFAULTS = Settings(seconds_max=0.1, rivals=False)

_DISPATCH_NODES, _DISPATCH_JOBS, _DISPATCH_JOBS_SMALL = 1_000, 100_000, 20_000


class CompareError(SchedulerError):
    """There is nothing to compare with; the text says what to change."""


class UnknownRevisionError(CompareError):
    """Git knows no such commit."""


class NoBenchmarksError(CompareError):
    """The revision, or the working tree, has none of the benchmarks asked for."""


class WrongCodeError(CompareError):
    """Python would run other code than that of the tree."""


class Report(Struct, frozen=True):
    """All benchmarks that both have; `doubts` are reasons to disbelieve them."""

    revision: str
    comparisons: list[Comparison]
    doubts: list[str]

    def of(self, verdict: Verdict) -> list[Comparison]:
        """Return those with this verdict."""
        return [each for each in self.comparisons if each.verdict == verdict]


def compare(
    revision: str,
    suites: Sequence[str] = (),
    rounds: int = 5,
    settings: Settings = DEFAULTS,
    tell: Callable[[str], object] = lambda _: None,
    root: Path = ROOT,
) -> Report:
    """Measure `suites`, all by default, of `revision` and of the tree `root`.

    Raises CompareError where that can't be, and ProgramError where a benchmark fails.
    """
    with checked_out(revision, root) as before:
        for tree in (before, root):
            check_code(tree)
        chosen = common_suites(before, root, suites)
        found: dict[str, tuple[list[float], list[float]]] = {}
        for number in range(rounds):
            for suite in chosen:
                tell(f"round {number + 1} of {rounds}: {suite}")
                _add(found, _measure_both(suite, before, root, settings, swapped=number % 2 == 1))
        doubts = [f"{path} is not the same in both" for path in _changed(chosen, before, root)]
    if not found:
        raise NoBenchmarksError(
            f"{revision} and the working tree have no benchmark of the same name"
        )
    return Report(revision, [Comparison(name, *both) for name, both in found.items()], doubts)


@contextmanager
def checked_out(revision: str, root: Path) -> Iterator[Path]:
    """Check a revision out into a temporary folder, which goes at the end; yield the folder."""
    found = _git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if found.returncode:
        raise UnknownRevisionError(
            f"{revision!r} is no commit here; see `git log` for those there are"
        )
    with TemporaryDirectory(prefix="lingua-compare-") as folder:
        tree = Path(folder).resolve() / "tree"
        made = _git(root, "worktree", "add", "--detach", str(tree), found.stdout.strip())
        if made.returncode:
            raise CompareError(f"can't check {revision} out: {made.stderr.strip()}")
        try:
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def check_code(tree: Path) -> None:
    """Raise WrongCodeError where Python, as it is run for `tree`, finds the package elsewhere."""
    command = [sys.executable, "-c", "import scheduler; print(scheduler.__file__)"]
    found = Path(run_in(tree, command, Settings()).strip())
    if not found.is_relative_to(tree):
        raise WrongCodeError(f"the code that would run for {tree} is {found}")


def common_suites(before: Path, after: Path, asked: Sequence[str]) -> list[str]:
    """Return those of the suites asked for, all by default, that both trees have."""
    here = [*suites_of(after)]
    unknown = sorted(set(asked) - {*here, DISPATCH})
    if unknown:
        raise NoBenchmarksError(f"no such suite: {', '.join(unknown)}; there are {', '.join(here)}")
    both = [suite for suite in asked or here if suite in suites_of(before)]
    if not both:
        wanted = ", ".join(asked) or "any benchmark"
        raise NoBenchmarksError(f"the revision does not have {wanted}; take a later one")
    return both


Medians = dict[str, float]


def _measure_both(
    suite: str, before: Path, after: Path, settings: Settings, *, swapped: bool
) -> tuple[Medians, Medians]:
    if swapped:
        second = _measure(suite, after, settings)
        return _measure(suite, before, settings), second
    return _measure(suite, before, settings), _measure(suite, after, settings)


def _measure(suite: str, tree: Path, settings: Settings) -> Medians:
    if suite == DISPATCH:
        return _measure_dispatch(tree, settings)
    figures = run_suites([suite], settings, tree)
    return {name: figure.median_ns for name, figure in figures.items()}


def _measure_dispatch(tree: Path, settings: Settings) -> Medians:
    jobs = _DISPATCH_JOBS if settings.full else _DISPATCH_JOBS_SMALL
    with TemporaryDirectory(prefix="lingua-bench-") as folder:
        path = Path(folder) / "found.json"
        command = [
            *(sys.executable, "-m", "native_bench.run", "dispatch", "--rounds", "1"),
            *("--nodes", str(_DISPATCH_NODES), "--jobs", str(jobs), "--json", str(path)),
        ]
        run_in(tree, command, settings)
        found = msgspec.json.decode(path.read_bytes())
    # Earlier revisions wrote the samples alone.
    samples = found["samples"] if isinstance(found, dict) else found
    [own] = [sample for sample in samples if sample["program"] == "dispatcher"]
    return {f"dispatch/job[{_DISPATCH_NODES}]": own["cpu_seconds"] / own["jobs"] * 1e9}


def _add(found: dict[str, tuple[list[float], list[float]]], both: tuple[Medians, Medians]) -> None:
    before, after = both
    for name in before.keys() & after.keys():
        times = found.setdefault(name, ([], []))
        times[0].append(before[name])
        times[1].append(after[name])


def _changed(suites: Sequence[str], before: Path, after: Path) -> Iterator[Path]:
    """Yield the files of these suites, and of what all suites share, that differ."""
    own = {suite_path(suite) for suite in suites}
    others = {suite_path(suite) for suite in suites_of(after)} - own
    for file in sorted((after / SUITES_FOLDER).glob("*.py")):
        path = file.relative_to(after)
        there = before / path
        if path not in others and (not there.exists() or there.read_bytes() != file.read_bytes()):
            yield path


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise CompareError("git is not installed; comparing revisions needs it") from error
