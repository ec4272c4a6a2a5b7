import pytest
from matplotlib.figure import Figure

from scheduler.stress import canvas


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05 ms"), (20.0, "20 ms"), (1_500.0, "1.5 s"), (999.6, "1 s"), (6_325.9, "6.33 s")],
)
def test_times_have_their_unit(value: float, text: str) -> None:
    assert canvas.milliseconds(value) == text


def test_numbers_and_shares_are_for_people() -> None:
    assert canvas.whole_numbers(12_000.0) == "12,000"
    assert canvas.percent(0.25) == "25 %"


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize(("low", "high"), [(30, 40), (18, 55), (20, 7_000), (0.001, 60_000)])
def test_an_axis_has_labels_but_not_too_many(which: str, low: float, high: float) -> None:
    axes = Figure().subplots()
    canvas.log_time(axes, which, low, high)
    ticks = (axes.xaxis if which == "x" else axes.yaxis).get_majorticklocs()
    assert 2 <= len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)


def test_a_picture_is_a_png() -> None:
    def draw(figure: Figure) -> None:
        figure.subplots()

    assert canvas.png(2, draw).startswith(b"\x89PNG")


def test_there_are_colours_for_any_number_of_lines() -> None:
    colours = canvas.colours()
    assert len({next(colours) for _ in range(50)}) == len(canvas.SERIES)
