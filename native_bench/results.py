"""What a benchmark found, in one form for all: shown on the terminal, kept as JSON, reported."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from native_bench.targets import Target, targets_of
from scheduler.origin import commit, machine


class Figures(Struct, frozen=True):
    """A table for people; all but the first column are figures."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


class Result(Struct, frozen=True):
    """One run of a benchmark.

    `figures` are what targets are held against, by the names in `targets`. `samples` are the raw
    measurements, `doubts` reasons to disbelieve them.
    """

    name: str
    commit: str
    machine: str
    measured_at: str
    settings: dict[str, Any]
    figures: dict[str, float]
    tables: list[Figures]
    doubts: list[str]
    samples: list[Any]


def make_result(
    name: str,
    *,
    settings: Struct,
    figures: dict[str, float],
    tables: list[Figures],
    doubts: list[str],
    samples: Sequence[object],
) -> Result:
    """Return a result of this moment, this commit and this machine."""
    return Result(
        name=name,
        commit=commit(),
        machine=machine(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=_as_read(settings),
        figures={key: float(f"{value:.5g}") for key, value in figures.items()},
        tables=tables,
        doubts=doubts,
        samples=_as_read(samples),
    )


def _as_read(found: object) -> Any:
    """Return what will be read of it: one that was just made is the same as one that was kept."""
    return msgspec.json.decode(msgspec.json.encode(found))


def write(result: Result, path: Path) -> None:
    """Write a result as JSON, one sample a line, so that a diff can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = msgspec.json.encode(msgspec.structs.replace(result, samples=[]))
    lines = b",\n".join(map(msgspec.json.encode, result.samples))
    path.write_bytes(head.replace(b'"samples":[]', b'"samples":[\n' + lines + b"\n]") + b"\n")


def read(path: Path) -> Result:
    """Read a result that `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def show(console: Console, result: Result) -> None:
    """Print tables, targets and doubts."""
    console.print(f"{result.name}: commit {result.commit}, {result.machine}", markup=False)
    for figures in result.tables:
        console.print(rich_table(figures))
    verdicts = Figures(
        "targets",
        ("target", "wanted", "measured", "verdict"),
        [verdict_row(target, result) for target in targets_of(result.name)],
    )
    if verdicts.rows:
        console.print(rich_table(verdicts))
    for doubt in result.doubts:
        console.print(f"doubt: {doubt}", style="yellow", markup=False)


def verdict_row(target: Target, result: Result) -> tuple[str, str, str, str]:
    """Return what stands in a table of targets."""
    value = result.figures.get(target.figure)
    if value is None:
        return target.says, target.wanted, "not measured", "open"
    return target.says, target.wanted, target.shown(value), target.verdict(value)


def over_rounds(count: int) -> str:
    """Return how a note says from how many rounds the figures of a table are."""
    return "one round, no median" if count == 1 else f"medians over {count} rounds"


def markdown(figures: Figures) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {' | '.join(figures.headings)} |"
    yield "|---" + "|---:" * (len(figures.headings) - 1) + "|"
    for row in figures.rows:
        yield f"| {' | '.join(row)} |"


def rich_table(figures: Figures) -> Table:
    """Return a table for the terminal."""
    table = Table(title=figures.title, caption=figures.note or None)
    for number, heading in enumerate(figures.headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in figures.rows:
        table.add_row(*row)
    return table
