"""The command `scripts/bench compare`."""

import signal
import sys
from pathlib import Path
from typing import Literal

import click
import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from native_bench.compare import DEFAULTS, CompareError, Report, compare
from native_bench.verdicts import RATIO_MAX, Verdict
from scheduler.errors import ProgramError

_FILE_COLUMNS = 140
_STYLES = {Verdict.REGRESSION: "red", Verdict.IMPROVEMENT: "green"}


@click.command("compare")
@click.argument("revision")
@click.option("--suite", "suites", multiple=True, help="placement, core, ...; default all.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of both.")
@click.option(
    "--seconds",
    type=float,
    default=DEFAULTS.seconds_max,
    show_default=True,
    help="Timed per benchmark and round.",
)
@click.option("--json", "json_path", type=Path, help="Write the medians of all rounds here.")
def compare_command(
    revision: str, suites: tuple[str, ...], rounds: int, seconds: float, json_path: Path | None
) -> None:
    """Say which benchmarks became slower since REVISION; exit with 1 where one did.

    The working tree is compared as it is, with what isn't committed yet.
    """
    # As for Ctrl-C: what was started is ended, and the revision's folder removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    # Whole names also in a pipe or a file, which rich takes to be 80 columns wide.
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    try:
        with console.status("starting") as status:
            report = compare(
                revision, suites, rounds, replace(DEFAULTS, seconds_max=seconds), status.update
            )
    except (CompareError, ProgramError) as error:
        console.print(f"Error: {error}", markup=False, highlight=False)
        sys.exit(2)  # 1 says that it was compared and became slower
    show(console, report)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.encode(report))
    sys.exit(1 if report.of(Verdict.REGRESSION) else 0)


def show(console: Console, report: Report) -> None:
    """Print all comparisons, those that became slowest first, and what they come to."""
    table = Table(title=f"the working tree by {report.revision}: above 1 it is slower")
    for heading in ("benchmark", "before ns", "after ns", "ratio", "interval", "verdict"):
        justify: Literal["left", "right"] = "left" if heading == "benchmark" else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for each in sorted(report.comparisons, key=lambda each: -each.ratio):
        interval, verdict = each.interval, each.verdict
        table.add_row(
            each.name.replace("[", "\\["),
            f"{each.median_before_ns:,.0f}",
            f"{each.median_after_ns:,.0f}",
            f"{each.ratio:.2f}",
            f"{interval.low:.2f} to {interval.high:.2f}",
            verdict,
            style=_STYLES.get(verdict),
        )
    console.print(table)
    for doubt in report.doubts:
        console.print(f"doubt: {doubt}", style="yellow", markup=False)
    counts = ", ".join(f"{len(report.of(verdict))} {verdict}" for verdict in Verdict)
    coverage = min(each.interval.coverage for each in report.comparisons)
    console.print(
        f"{counts}; a regression is slower by {RATIO_MAX - 1:.0%} or more, and above 1 with its "
        f"whole interval, which holds with {coverage:.0%}",
        highlight=False,
    )
