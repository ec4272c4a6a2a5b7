"""What both screens are made of: lines with a label, and tables that fit the terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.top.tables import plain, plain_table

LABEL_CELLS = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: terminals narrower than `least_width` don't show it.

    One that is `flexible` gives way to the others; of others, what exceeds `width_max` is cut.
    """

    title: str
    least_width: int = 0
    justify: JustifyMethod = "left"
    flexible: bool = False
    width_max: int | None = None


def labelled(lines: Iterable[tuple[str, str | Text]]) -> Table:
    """Return lines that begin with a label; what is too long goes on below its beginning."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="bold", min_width=LABEL_CELLS, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in lines:
        grid.add_row(label, value)
    return grid


def table(columns: Sequence[Column], rows: Iterable[Sequence[RenderableType]], width: int) -> Table:
    """Return a table of the columns that a terminal of that width shows."""
    shown = [width >= column.least_width for column in columns]
    made = plain_table()
    for column, is_shown in zip(columns, shown, strict=True):
        if is_shown:
            made.add_column(
                column.title,
                justify=column.justify,
                no_wrap=not column.flexible,
                overflow="fold" if column.flexible else "ellipsis",
                max_width=column.width_max,
            )
    for row in rows:
        made.add_row(*(cell for cell, is_shown in zip(row, shown, strict=True) if is_shown))
    return made


def node_name(node_id: str, name: str) -> str:
    """Return what a node is called, with its id where that is something else."""
    return plain(f"{name} ({node_id})" if name not in {"", node_id} else node_id)


def services_text(services: Sequence[str]) -> str:
    """Return the services that a job needs."""
    return plain(" + ".join(services)) or "no service"
