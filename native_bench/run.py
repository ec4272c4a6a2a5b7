"""Command line of the benchmarks: `scripts/bench NAME`."""

import signal
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from native_bench import readers, readers_report
from native_bench.commands import add_to
from native_bench.compare_command import compare_command
from native_bench.readers_plan import FORMS, NONE, Settings
from native_bench.results import rich_table
from scheduler.errors import ProgramError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure parts of the scheduler beside their rivals, in one run, as ratios."""


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
        console.print(rich_table(table))
    for doubt in readers_report.doubts(report):
        console.print(f"doubt: {doubt}", style="yellow", markup=False)
    if json_path:
        json_path.write_bytes(msgspec.json.encode(report))


add_to(main, but=("readers",))
main.add_command(compare_command)

if __name__ == "__main__":
    main()
