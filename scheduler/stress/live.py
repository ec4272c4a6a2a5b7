"""The run on a terminal while it goes on; plain lines where there is no terminal."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.stress.progress import Progress

_SPARKS = " ▁▂▃▄▅▆▇█"
_LINE_SECONDS = 2.0
_BAR_CELLS = 20
_PROCESSES_SHOWN_MAX = 12


class Show(Protocol):
    """Whatever shows a run."""

    def tell(self, text: str) -> None:
        """Show what is being done before and after the run itself."""

    def update(self, progress: Progress) -> None:
        """Show how the run stands."""


class Lines:
    """A line every so often."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s = -_LINE_SECONDS

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, text: str) -> None:
        """Print it."""
        self._console.print(text, markup=False)

    def update(self, progress: Progress) -> None:
        """Print a line where the last one is old enough."""
        if progress.elapsed_seconds - self._told_s >= _LINE_SECONDS:
            self._told_s = progress.elapsed_seconds
            self._console.print(line(progress), markup=False)


class Screen:
    """A picture that is drawn anew."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Screen":
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def tell(self, text: str) -> None:
        """Show it in the place of the picture."""
        self._live.update(Text(text, style="dim"), refresh=True)

    def update(self, progress: Progress) -> None:
        """Draw anew."""
        self._live.update(picture(self._title, progress), refresh=True)


def show_on(console: Console, title: str) -> AbstractContextManager[Show]:
    """Return what suits the console."""
    return Screen(console, title) if console.is_terminal else Lines(console)


def line(progress: Progress) -> str:
    """Return the figures in one line."""
    broken = f", {progress.violations} BROKEN PROMISES" if progress.violations else ""
    return (
        f"{progress.elapsed_seconds:5.0f} s  {progress.delivered_per_second:7.0f} jobs/s  "
        f"p50 {_ms(progress.p50_ms)}  p99 {_ms(progress.p99_ms)}  "
        f"{progress.waiting} open, {progress.errors} errors{broken}"
    )


def picture(title: str, progress: Progress) -> RenderableType:
    """Return all figures as a picture."""
    over = progress.elapsed_seconds >= progress.seconds or progress.stopping
    what = "waiting for what is open" if over else "Ctrl-C ends early, with a report"
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(title, style="bold"),
        Text(f"{min(progress.elapsed_seconds, progress.seconds):.0f} of {progress.seconds:g} s"),
        ProgressBar(progress.seconds, progress.elapsed_seconds, width=_BAR_CELLS),
        Text(what, style="dim"),
    )
    return Group(head, Text(), _figures(progress), Text(), _processes(progress))


def _figures(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 3))
    errors = "red" if progress.errors else ""
    promises = (
        Text(f"{progress.violations} broken", style="bold red")
        if progress.violations
        else Text("all kept", style="green")
    )
    rows: list[tuple[str | Text, ...]] = [
        (
            *("results", f"{progress.delivered_per_second:,.0f} /s"),
            *("p50", _ms(progress.p50_ms), "sent", f"{progress.sent:,}"),
        ),
        (
            *("errors", Text(f"{progress.errors_per_second:,.0f} /s", style=errors)),
            *("p99", _ms(progress.p99_ms), "results", f"{progress.results:,}"),
        ),
        (
            *("open", f"{progress.waiting:,}"),
            *("queued", "-" if progress.queued is None else f"{progress.queued:,}"),
            *("errors", Text(f"{progress.errors:,}", style=errors)),
        ),
        ("sessions", f"{progress.sessions:,}", "", "", "promises", promises),
    ]
    for number in range(6):
        table.add_column(justify="right" if number % 2 else "left", min_width=9)
    for row in rows:
        cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
        for cell in cells[::2]:
            cell.stylize("dim")
        table.add_row(*cells)
    table.add_row(Text("results per second", style="dim"))
    grid = Table.grid()
    grid.add_row(table)
    grid.add_row(Text(sparkline(progress.delivered_history), style="cyan"))
    return grid


def _processes(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    busiest = sorted(progress.cpu.items(), key=lambda item: -item[1])[:_PROCESSES_SHOWN_MAX]
    for name, share in busiest:
        style = "dim" if name.startswith("load") else ""
        table.add_row(
            Text(name, style=style),
            ProgressBar(1.0, min(share, 1.0), width=_BAR_CELLS),
            Text(f"{share:4.0%} of a core", style=style),
        )
    return table


def sparkline(values: list[float]) -> str:
    """Return the values as a row of blocks, the greatest as a full one."""
    top = max(values, default=0.0) or 1.0
    return "".join(_SPARKS[round(value / top * (len(_SPARKS) - 1))] for value in values)


def _ms(value: float | None) -> str:
    return "     -   " if value is None else f"{value:6.1f} ms"
