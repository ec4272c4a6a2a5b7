"""matplotlib keeps the fonts that it has opened: not a leak of the test that draws first."""

from matplotlib.figure import Figure

from scheduler.stress import canvas


def _open_fonts(figure: Figure) -> None:
    figure.subplots().set(title="bold", xlabel="plain")


canvas.png(1, _open_fonts)
