"""Runs the benchmarks among the tests, those of this tree or of another, in their full sizes.

A suite is a file `tests/benchmarks/test_<suite>_benchmark.py`; a benchmark is called
`<suite>/<function>[<parameters>]`, without `test_`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct

from scheduler.errors import ProgramError

ROOT = Path(__file__).parent.parent
SUITES_FOLDER = Path("tests", "benchmarks")
_FULLNAME = re.compile(r".*test_(\w+)_benchmark\.py::(?:test_)?(.*)")
_OUTPUT_CHARS_SHOWN_MAX = 4_000
_RUN_SECONDS_MAX = 1_800


class Settings(Struct, frozen=True, kw_only=True):
    """How each is timed: for so long; small ones show only that they work."""

    seconds_max: float = 1.0
    full: bool = True
    rivals: bool = True
    """Whether rivals are measured too, where a benchmark has some."""


DEFAULTS = Settings()


class Figure(Struct, frozen=True):
    """What one benchmark came to: the median over rounds of one call, and what it says besides."""

    median_ns: float
    rounds: int
    extra_info: dict[str, Any] = {}


class _Stats(Struct):
    median: float
    rounds: int


class _Benchmark(Struct):
    fullname: str
    stats: _Stats
    extra_info: dict[str, Any] = {}


class _Document(Struct):
    benchmarks: list[_Benchmark]


def suite_path(suite: str) -> Path:
    """Return the file of a suite, below a tree."""
    return SUITES_FOLDER / f"test_{suite}_benchmark.py"


def suites_of(tree: Path) -> list[str]:
    """Return the suites that a tree has."""
    found = sorted((tree / SUITES_FOLDER).glob("test_*_benchmark.py"))
    return [path.stem.removeprefix("test_").removesuffix("_benchmark") for path in found]


def environment_of(tree: Path, settings: Settings = DEFAULTS) -> dict[str, str]:
    """Return the variables with which Python finds the code of `tree` before what is installed."""
    return os.environ | {
        "PYTHONPATH": str(tree),
        "BENCHMARKS": "full" if settings.full else "small",
        "BENCHMARKS_RIVALS": "yes" if settings.rivals else "no",
    }


def run_suites(
    suites: Sequence[str],
    settings: Settings = DEFAULTS,
    tree: Path = ROOT,
) -> dict[str, Figure]:
    """Run suites of a tree; return their benchmarks by name.

    Raises ProgramError where one fails. Tests of a suite that measure nothing are left out.
    """
    with TemporaryDirectory(prefix="lingua-bench-") as folder:
        path = Path(folder) / "found.json"
        command = [
            *(sys.executable, "-m", "pytest", *(str(suite_path(suite)) for suite in suites)),
            *("--rootdir", str(tree), "-p", "no:cacheprovider", "--benchmark-only"),
            *("-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"),  # of a suite of none
            *(f"--benchmark-json={path}", f"--benchmark-max-time={settings.seconds_max}"),
        ]
        run_in(tree, command, settings)
        written = path.read_bytes() if path.exists() else b""
    if not written:  # none of them measures anything
        return {}
    return figures_of(written)


def run_in(tree: Path, command: Sequence[str], settings: Settings) -> str:
    """Run a command on the code of `tree`; return its output, or raise ProgramError."""
    try:
        run = subprocess.run(
            command,
            cwd=tree,
            env=environment_of(tree, settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"not done within {_RUN_SECONDS_MAX} s: {command}") from error
    if run.returncode:
        output = (run.stdout + run.stderr)[-_OUTPUT_CHARS_SHOWN_MAX:]
        raise ProgramError(f"failed in {tree}: {' '.join(command)}\n{output}")
    return run.stdout


def figures_of(document: bytes) -> dict[str, Figure]:
    """Return the benchmarks of a JSON document that pytest-benchmark wrote."""
    found = msgspec.json.decode(document, type=_Document).benchmarks
    return {
        _FULLNAME.sub(r"\1/\2", each.fullname): Figure(
            each.stats.median * 1e9, each.stats.rounds, each.extra_info
        )
        for each in found
    }
