"""Where the time goes."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, RunStub

STAGES = ("Receive", "Submit", "Queue", "Assign", "Node", "First partial", "Deliver", "Order")
SUMS = ("Dispatch", "End to end")
ROW = ("Receive", "Submit", "Queue", "Assign", "Node", "Deliver", "Order")
"""Stages of which each begins where the one before ends."""

NOTHING = "\u2013"
"""What the page shows where there is no figure."""


def stage(page: Page, name: str) -> Locator:
    return page.locator("#waterfall-rows").get_by_role("row", name=name)


def bar(page: Page, name: str) -> tuple[float, float]:
    """Return where a stage's bar begins and ends, as parts of the whole, in percent."""
    left, width = (
        stage(page, name)
        .locator(".stage-track > span")
        .first.evaluate("e => [parseFloat(e.style.left), parseFloat(e.style.width)]")
    )
    return left, left + width


def press(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")


def test_the_waterfall_has_all_stages_with_figures(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    heads = page.locator("#waterfall-rows").get_by_role("rowheader")
    expect(heads).to_have_count(len(STAGES) + len(SUMS))
    order = [name for name in STAGES if name != "First partial"]
    order.insert(order.index("Node") + 1, "First partial")
    names = heads.get_by_role("button").all_inner_texts()
    assert names == [*order, *SUMS], "what lies within the node comes after it"
    press(page, "Since start")
    assert stage(page, "Node").get_by_role("cell").all_inner_texts()[:3] == [
        "1.17 s",
        "1.11 s",
        "2.45 s",
    ]
    expect(page.locator("#waterfall-legend")).to_contain_text("the node 1.17 s")


def test_the_waterfall_is_of_the_last_interval_or_since_the_start(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    stub.data.jobs["completed"] = 42_000_000
    stub.data.jobs_per_s = 4_000.0
    page = open_page(stub.url)
    expect(page.locator("#waterfall-note")).to_have_text(
        re.compile(r"^[\d,]{3,5} jobs in the last")
    )
    press(page, "Since start")
    expect(page.locator("#waterfall-note")).to_have_text(re.compile(r"^42,\d+,\d+ jobs since"))
    expect(stage(page, "Deliver").get_by_role("cell").last).to_have_text("42M")
    stub.data.stage_p50_ms["deliver"] = 250.0
    expect(stage(page, "Deliver")).to_contain_text("250 ms")
    press(page, "Last interval")
    stub.data.jobs_per_s = 0.0
    expect(page.locator("#waterfall-note")).to_have_text(re.compile("^No job in the last"))
    assert stage(page, "Node").get_by_role("cell").all_inner_texts()[:3] == [NOTHING] * 3
    expect(stage(page, "Node").locator(".stage-track > span").first).to_be_hidden()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_each_stage_begins_where_the_one_before_ends_and_none_vanishes(
    run_stub: RunStub, open_page: OpenPage, size: tuple[int, int]
) -> None:
    stub = run_stub()
    stub.data.stage_p50_ms = dict.fromkeys(stub.data.stage_p50_ms, 0.2)
    stub.data.stage_p50_ms.update(node=1_000.0, first_partial=400.0, end_to_end=1_001.0)
    page = open_page(stub.url, size=size)
    press(page, "Since start")
    lengths = {}
    for scale in ("Log", "Linear"):
        press(page, scale)
        bars = {name: bar(page, name) for name in ROW}
        ends = [bars[name][1] for name in ROW]
        begins = [bars[name][0] for name in ROW]
        assert begins == pytest.approx([0.0, *ends[:-1]], abs=0.01), scale
        assert ends[-1] == pytest.approx(100.0, abs=0.01), scale
        assert min(end - begin for begin, end in bars.values()) > 0.5, "as steps, not in one place"
        for name in (*STAGES, *SUMS):
            expect(stage(page, name).locator(".stage-track > span").first).to_be_visible()
        first, node = bar(page, "First partial"), bars["Node"]
        assert first[0] == node[0], "it begins with the node's"
        assert first[1] < node[1], "and lies within it"
        assert bar(page, "End to end") == pytest.approx((bars["Submit"][0], 100.0), abs=0.01)
        lengths[scale] = node[1] - node[0]
    assert lengths["Log"] < 60
    assert lengths["Linear"] > 90
    assert stage(page, "Assign").get_by_role("cell").all_inner_texts()[1] == "200 µs"
    assert stage(page, "Node").get_by_role("cell").all_inner_texts()[1] == "1.00 s"


def test_a_stage_says_from_where_to_where_it_goes(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.data.stage_p50_ms = dict.fromkeys(stub.data.stage_p50_ms, 0.0)
    stub.data.stage_p50_ms.update(receive=0.2, node=1_000.0, first_partial=400.0)
    page = open_page(stub.url)
    press(page, "Since start")
    button = stage(page, "Node").get_by_role("button")
    expect(button).to_have_accessible_description(
        "job_assign to job_result; begins after 230 µs on average"
    )
    after = stage(page, "Deliver").get_by_role("button")
    expect(after).to_have_accessible_description(re.compile("begins after 1.05 s on average"))
    tip = page.get_by_role("tooltip").filter(has_text="job_assign to job_result")
    expect(tip).to_be_hidden()
    button.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    stage(page, "Order").hover()
    expect(page.get_by_role("tooltip").filter(has_text="no earlier utterance")).to_be_visible()
