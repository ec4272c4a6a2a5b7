"""Command line of the benchmarks: `scripts/bench NAME`."""

import platform
import subprocess
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from native_bench import dispatch

SIZES = (100, 1_000, 10_000, 100_000)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure parts of the scheduler beside their rivals, in one run, as ratios."""


@main.command("dispatch")
@click.option("--nodes", type=int, multiple=True, help="Node counts; default 100 to 100,000.")
@click.option("--jobs", type=int, default=100_000, show_default=True, help="Jobs per round.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Rounds per program.")
@click.option("--json", "json_path", type=Path, help="Write the raw samples here.")
def dispatch_command(nodes: tuple[int, ...], jobs: int, rounds: int, json_path: Path) -> None:
    """Jobs/s of the full dispatcher over real pipes, beside a bare loop."""
    samples = []
    table = Table(title=f"dispatcher over pipes, {_where()}")
    for heading in ("nodes", "bare loop jobs/s", "dispatcher jobs/s", "share", "wall jobs/s"):
        table.add_column(heading, justify="right")
    for count in nodes or SIZES:
        found = dispatch.measure(count, jobs, rounds)
        samples += found
        bare, full = (dispatch.median_rate(found, program) for program in dispatch.PROGRAMS)
        wall = max(s.jobs / s.wall_seconds for s in found if s.program == "dispatcher")
        table.add_row(
            f"{count:,}", f"{bare:,.0f}", f"{full:,.0f}", f"{full / bare:.0%}", f"{wall:,.0f}"
        )
    console = Console()
    console.print(table)
    console.print("jobs/s: per second of the program's own CPU time, median of the rounds")
    if json_path:
        json_path.write_bytes(dispatch.to_json(samples))


def _where() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"commit {commit or 'unknown'}, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
