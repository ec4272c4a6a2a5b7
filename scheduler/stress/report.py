"""A report on the disk: one page, and its charts as pictures of their own."""

from datetime import UTC, datetime
from pathlib import Path

from scheduler.errors import ConfigError
from scheduler.stress.chart import Chart
from scheduler.stress.figures import Figures
from scheduler.stress.page import page
from scheduler.stress.raw import Run

PAGE_NAME = "report.html"
DEFAULT_FOLDER = "stress-reports"


def make_folder(out: Path | None, name: str) -> Path:
    """Make the folder of a report, a new one where none is given; raise ConfigError."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = out or Path(DEFAULT_FOLDER) / f"{Path(name).stem}-{stamp}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: can't be made: {error.strerror}; say another one with --out"
        ) from error
    return folder


def write(folder: Path, run: Run, figures: Figures) -> Path:
    """Write the report and return the path of its page."""
    charts = draw_charts(run, figures)
    for chart in charts or ():
        (folder / f"{chart.name}.png").write_bytes(chart.png)
    path = folder / PAGE_NAME
    path.write_text(page(run, figures, charts))
    return path


def draw_charts(run: Run, figures: Figures) -> list[Chart] | None:
    """Return the charts, None where matplotlib is not installed."""
    try:
        from scheduler.stress.charts import draw
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    return list(draw(run, figures))
