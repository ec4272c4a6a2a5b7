"""How charts look: sizes, colours, axes. Needs matplotlib, the extra `report`."""

import io
import math
from collections.abc import Callable
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

WIDTH_INCHES = 9.6
_DPI = 160

TEXT, QUIET, LINE = "#0f1728", "#566176", "#e1e6ee"
ACCENT, SECOND, GOOD, WARN, BAD = "#1d5be0", "#8a3ffc", "#15703a", "#c2700c", "#b3261e"
SERIES = (ACCENT, SECOND, WARN, "#0e8a7d", "#c2407a", "#5b6b82", "#7a9a01", "#0e2f78")
LOAD_COLOUR = "#a3adbd"
"""Of what belongs to the load and not to the scheduler."""

# Its type names each parameter that matplotlib has.
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": TEXT,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
}


_TICKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (2, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
    (12, (1, 1.5, 2, 3, 4, 5, 7)),
    (2_000, (1, 2, 5)),
    (math.inf, (1,)),
)
"""Labels in each power of ten, for axes whose ends are less than so many times apart."""


def png(height_inches: float, draw: Callable[[Figure], None]) -> bytes:
    """Return what `draw` draws, as a PNG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        draw(figure)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=_DPI)
    return data.getvalue()


def milliseconds(value: float, _position: int = 0) -> str:
    """Return a time in ms as people write it, to three digits: 0.05 ms, 20 ms, 1.5 s."""
    return f"{value / 1000:.3g} s" if value >= 999.5 else f"{value:.3g} ms"


def log_time(axes: Axes, which: str, bottom: float, top: float) -> None:
    """Make an axis ("x" or "y") logarithmic, in ms, with few enough labels to read."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(bottom, top)
    axis = axes.xaxis if which == "x" else axes.yaxis
    steps = next(steps for ratio, steps in _TICKS if top / bottom < ratio)
    ticks = [step * 10.0**power for power in range(-4, 7) for step in steps]
    axis.set_ticks([tick for tick in ticks if bottom <= tick <= top])
    axis.set_major_formatter(FuncFormatter(milliseconds))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(value: float, _position: int = 0) -> str:
    """Return 12,000 for 12000.0."""
    return f"{value:,.0f}"


def percent(value: float, _position: int = 0) -> str:
    """Return 25 % for 0.25."""
    return f"{value * 100:.0f} %"


def colours() -> "cycle[str]":
    """Return colours for any number of lines."""
    return cycle(SERIES)


def legend(axes: Axes, columns: int = 6) -> None:
    """Put the legend above the chart, where it hides nothing."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, borderaxespad=0.2,
        handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
