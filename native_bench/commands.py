"""The commands of `scripts/bench` that run benchmarks and report them.

A benchmark's options are its settings, and their types and defaults those of the fields.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import fields, replace
from rich.console import Console

from native_bench import results
from native_bench.benchmarks import BENCHMARKS, Benchmark
from native_bench.report import RESULTS, problems, write_page
from native_bench.results import Result
from scheduler.errors import SchedulerError

_FILE_COLUMNS = 140

_JSON = click.option("--json", "json_path", type=Path, help="Write the raw samples here.")
_QUICK = click.option("--quick", is_flag=True, help="Only show that it works; in small.")


def add_to(group: click.Group) -> None:
    """Add a command for each benchmark."""
    for benchmark in BENCHMARKS.values():
        group.add_command(_command(benchmark))
    group.add_command(_all_command)
    group.add_command(_report_command)


def run(benchmark: Benchmark, settings: Struct, console: Console) -> Result:
    """Measure and show; raises ClickException where a program fails or a setting is wrong."""
    # As for Ctrl-C: what was started is ended.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with console.status("starting") as status:
            found = benchmark.measure(
                settings, lambda text: status.update(f"{benchmark.name}: {text}")
            )
    except SchedulerError as error:
        raise click.ClickException(str(error)) from error
    results.show(console, found)
    return found


def _console() -> Console:
    """Return one that shows whole tables in a file too, which rich takes to be 80 columns wide."""
    return Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)


def _command(benchmark: Benchmark) -> click.Command:
    @_JSON
    @_QUICK
    def command(json_path: Path | None, quick: bool, **given: Any) -> None:
        changed = {name: value for name, value in given.items() if value not in (None, ())}
        settings = replace(benchmark.quick if quick else benchmark.settings, **changed)
        found = run(benchmark, settings, _console())
        if json_path is not None:
            results.write(found, json_path)

    made: Callable[..., Any] = command
    for field in reversed(fields(benchmark.settings)):
        made = _option(field.name, getattr(benchmark.settings, field.name))(made)
    # Paragraphs keep their lines with \b; click would rewrap the rest as it likes.
    return click.command(benchmark.name, help=benchmark.about)(made)


def _option(name: str, default: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    many = isinstance(default, tuple)
    first = default[0] if isinstance(default, tuple) else default
    shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    return click.option(
        f"--{name.replace('_', '-')}", name, type=type(first), multiple=many, help=f"[{shown}]"
    )


@click.command("all")
@_QUICK
@click.option(
    "--only", multiple=True, type=click.Choice(list(BENCHMARKS)), help="These; default all."
)
@click.option("--folder", type=Path, default=RESULTS, show_default=False, help="Where results go.")
def _all_command(quick: bool, only: tuple[str, ...], folder: Path) -> None:
    """Run all benchmarks, keep what they find, and write docs/performance.md anew.

    What `--quick` finds means nothing: it needs a `--folder` of its own, and no page is written.
    """
    if quick and folder == RESULTS:
        raise click.UsageError("--quick needs --folder: its figures mean nothing")
    console = _console()
    for name in only or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        found = run(benchmark, benchmark.quick if quick else benchmark.settings, console)
        results.write(found, folder / f"{name}.json")
    if folder == RESULTS:
        write_page()


@click.command("report")
def _report_command() -> None:
    """Write docs/performance.md and its images from the results that are kept."""
    write_page()
    for problem in problems():
        click.echo(problem, err=True)
