"""The one form of results: kept and read again, shown, and held against targets."""

from pathlib import Path

import pytest
from msgspec import Struct
from rich.console import Console

from native_bench.results import Figures, Result, make_result, markdown, read, show, write
from native_bench.targets import TARGETS, Target


class Settings(Struct, frozen=True):
    nodes: tuple[int, ...] = (1, 2)


def result(name: str = "start", **figures: float) -> Result:
    return make_result(
        name,
        settings=Settings(),
        figures=figures,
        tables=[Figures("times", ("what", "s"), [("this", "1.5"), ("that", "2")], "a note")],
        doubts=["a doubt"],
        samples=[{"seconds": 1.5}, {"seconds": 2}],
    )


def test_it_is_read_as_it_was_written_one_sample_a_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "start.json"
    made = result(ready_seconds=1.23456789)
    write(made, path)
    kept = read(path)
    assert kept.figures == {"ready_seconds": 1.2346}
    assert kept.samples == made.samples
    assert (kept.commit, kept.machine, kept.settings) == (
        made.commit,
        made.machine,
        {"nodes": [1, 2]},
    )
    assert path.read_text().splitlines()[1:3] == ['{"seconds":1.5},', '{"seconds":2}']


@pytest.mark.parametrize(("seconds", "verdict"), [(1.5, "met"), (1.51, "missed"), (None, "open")])
def test_it_is_shown_with_verdicts_and_doubts(seconds: float | None, verdict: str) -> None:
    console = Console(width=120)
    with console.capture() as shown:
        show(console, result() if seconds is None else result(ready_seconds=seconds))
    text = shown.get()
    assert verdict in text
    assert "a doubt" in text
    assert "a note" in text


def test_tables_are_markdown_too() -> None:
    assert list(markdown(Figures("t", ("a", "b", "c"), [("1", "2", "3")]))) == [
        "| a | b | c |",
        "|---|---:|---:|",
        "| 1 | 2 | 3 |",
    ]


def test_bounds_hold_at_their_limits() -> None:
    least = Target("x", "y", "says", "at least", 2, "{:.1f}")
    most = Target("x", "y", "says", "at most", 2, "{:.1f}")
    shown = Target("x", "y", "says", "reported")
    assert [least.verdict(value) for value in (1.9, 2, 2.1)] == ["missed", "met", "met"]
    assert [most.verdict(value) for value in (1.9, 2, 2.1)] == ["met", "met", "missed"]
    assert shown.verdict(1e9) == "reported"
    assert (least.wanted, most.wanted, shown.wanted) == ("≥ 2.0", "≤ 2.0", "—")


def test_no_two_targets_have_one_key() -> None:
    keys = [target.key for target in TARGETS]
    assert len(set(keys)) == len(keys)
