import re
from html.parser import HTMLParser

from scheduler.stress.chart import Chart
from scheduler.stress.figures import make_figures
from scheduler.stress.messages import Violation
from scheduler.stress.page import HOW_TO_DRAW, page
from scheduler.stress.raw import Run
from scheduler.stress.summary import BIAS
from tests.stress.samples import call, empty, ramp, run_of, steady

CHART = Chart("latency", "Latency", "What it is.", b"\x89PNG...")
EMPTY_ELEMENTS = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Each element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def made(run: Run, charts: list[Chart] | None = None) -> str:
    text = page(run, make_figures(run), charts)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return text


def test_it_needs_no_other_file() -> None:
    text = made(run_of([call(0, 20)]), [CHART])
    assert re.findall(r'src="([^:"]*)', text) == ["data"]
    assert not re.findall(r"<link|<script|href=|url\(|@import|https?://", text)


def test_it_says_what_was_run_where_and_how_biased_it_is() -> None:
    text = made(run_of([call(0, 20)]), [CHART])
    for said in ("A test", "commit abcdef0", "seed 1", "2 cores of Test", "1.2.3", BIAS):
        assert said in text
    assert "all promises kept" in text
    assert "HOW_TO_DRAW" not in text


def test_an_empty_run_has_a_page() -> None:
    text = made(empty())
    assert "nothing was sent" in text
    assert "could not be read from here" in text


def test_without_charts_it_says_how_to_have_them() -> None:
    assert HOW_TO_DRAW.partition("'")[0] in made(run_of([call(0, 20)]))


def test_broken_promises_stand_out() -> None:
    broken = [Violation("duplicated", f"utterance {n} was answered twice") for n in range(30)]
    text = made(run_of([call(0, 20)], violations=broken), [])
    assert "broken: 30 duplicated" in text
    assert "utterance 19 was answered twice" in text
    assert "And 10 more." in text


def test_a_ramp_has_its_steps() -> None:
    text = made(run_of([call(100 * n, 20) for n in range(20)], ramp()), [])
    assert "Steps of the ramp" in text
    assert "10 /s" in text


def test_text_of_others_is_no_markup() -> None:
    scenario = steady(title="<script>alert(1)</script>", about="a & b")
    text = made(run_of([], scenario, troubles={"<b>": 1}), [])
    assert "<script>" not in text
    assert "<b>" not in text
    assert "a &amp; b" in text
