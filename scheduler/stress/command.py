"""The `stress` command: reads a scenario, runs it, writes and shows what came of it."""

import sys
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from scheduler.stress import report, scenario_file
from scheduler.stress.figures import Figures, make_figures
from scheduler.stress.live import show_on
from scheduler.stress.raw import Run
from scheduler.stress.run import run
from scheduler.stress.scenario import Overrides
from scheduler.stress.site import base_of
from scheduler.stress.summary import lines

_LABEL_CELLS = 10


class Order(Struct, frozen=True):
    """What the command line asks for."""

    scenario: str
    overrides: Overrides
    url: str | None
    runtime_dir: Path | None
    out: Path | None
    as_json: bool


class Result(Struct, frozen=True):
    """What `--json` prints."""

    figures: Figures
    run: Run
    report: str


def carry_out(order: Order) -> bool:
    """Run a scenario; return whether all promises were kept.

    Raises ConfigError for a wrong scenario, ProgramError, and KeyboardInterrupt.
    """
    path = scenario_file.find(order.scenario)
    scenario = scenario_file.load(path, order.overrides)
    url = base_of(order.url) if order.url else None
    folder = report.make_folder(order.out, path.stem)
    progress = Console(stderr=True, highlight=False)
    with show_on(progress, scenario.title) as show:
        measured = run(scenario, path.stem, show, url, order.runtime_dir)
        show.tell("drawing the report")
        figures = make_figures(measured)
        written = report.write(folder, measured, figures)
    if order.as_json:
        result = Result(figures, measured, str(written))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    else:
        _show(figures, measured, written)
    return figures.kept


def _show(figures: Figures, measured: Run, written: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, text in [*lines(measured, figures), ("report", str(written))]:
        style = "bold red" if name == "promises" and not figures.kept else None
        console.print(f"{name:<{_LABEL_CELLS}}  {text}", style=style, markup=False)
