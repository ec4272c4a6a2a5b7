"""Command line of the benchmarks: `scripts/bench NAME`."""

import platform
import signal
import subprocess
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from native_bench import dispatch, readers, readers_report
from native_bench.readers_plan import FORMS, NONE, Settings
from scheduler.errors import ProgramError

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


_DEFAULTS = Settings()


@main.command("readers")
@click.option("--nodes", type=int, default=_DEFAULTS.nodes, show_default=True)
@click.option("--gateways", type=int, default=_DEFAULTS.gateways, show_default=True)
@click.option(
    "--jobs",
    type=float,
    default=_DEFAULTS.jobs_per_second,
    show_default=True,
    help="Jobs per second.",
)
@click.option(
    "--requests",
    type=float,
    default=_DEFAULTS.requests_per_second,
    show_default=True,
    help="Requests per second.",
)
@click.option(
    "--delay-ms",
    type=int,
    default=_DEFAULTS.node_delay_ms,
    show_default=True,
    help="What a node takes for a job.",
)
@click.option(
    "--form",
    "forms",
    type=click.Choice(FORMS),
    multiple=True,
    help="What readers do in a window; default all. 'none' is always among them.",
)
@click.option(
    "--windows",
    type=int,
    default=_DEFAULTS.windows,
    show_default=True,
    help="Windows of each form that count.",
)
@click.option(
    "--seconds",
    type=float,
    default=_DEFAULTS.window_seconds,
    show_default=True,
    help="Length of a window.",
)
@click.option(
    "--minutes-max",
    type=float,
    default=_DEFAULTS.minutes_max,
    show_default=True,
    help="Begin no more windows after it.",
)
@click.option("--json", "json_path", type=Path, help="Write the raw samples here.")
def readers_command(
    nodes: int,
    gateways: int,
    jobs: float,
    requests: float,
    delay_ms: int,
    forms: tuple[str, ...],
    windows: int,
    seconds: float,
    minutes_max: float,
    json_path: Path | None,
) -> None:
    """Whether reading the statistics disturbs the jobs: windows with and without readers."""
    settings = Settings(
        nodes=nodes,
        gateways=gateways,
        jobs_per_second=jobs,
        requests_per_second=requests,
        node_delay_ms=delay_ms,
        forms=tuple(dict.fromkeys((NONE, *forms))) if forms else FORMS,
        windows=windows,
        window_seconds=seconds,
        minutes_max=minutes_max,
    )
    # As for Ctrl-C: what was started is ended.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    console = Console()
    try:
        with console.status("starting") as status:
            report = readers.measure(settings, status.update)
    except ProgramError as error:
        raise click.ClickException(str(error)) from error
    for table in readers_report.tables(report):
        console.print(table)
    for doubt in readers_report.doubts(report):
        console.print(f"doubt: {doubt}", style="yellow", markup=False)
    if json_path:
        json_path.write_bytes(msgspec.json.encode(report))


def _where() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"commit {commit or 'unknown'}, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
