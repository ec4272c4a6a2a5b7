"""The nodes: map, table, filters, details and commands."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, RunStub
from tests.browser.stub import ADMIN_TOKEN
from tests.browser.stub_data import Json
from tests.harness import poll

ROWS_MAX = 60
SPARE_WIDTH = """e => e.clientWidth - parseFloat(getComputedStyle(e).paddingRight)
  - e.firstElementChild.getBoundingClientRect().width"""
"""Pixels that the content of a cell leaves, without its padding."""


def rows(page: Page) -> Locator:
    return page.locator("#node-body tr[aria-rowindex]")


def names(page: Page) -> list[str]:
    return rows(page).locator("th").all_inner_texts()


def cells(page: Page, column: int) -> list[str]:
    return rows(page).locator(f"td:nth-child({column})").all_inner_texts()


def sort_by(page: Page, column: str) -> None:
    page.locator(f"th[data-column={column}] button").click()


def test_columns_sort_both_ways(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    for index, node in enumerate(stub.data.nodes):
        node.update(name=f"node-{index}", status="offline", cpu_percent=float((index * 7) % 12))
    page = open_page(stub.url)
    expect(rows(page)).to_have_count(12)
    assert names(page) == [f"node-{index}" for index in range(12)], "numbers count as numbers"
    sort_by(page, "cpu")
    assert cells(page, 4) == [f"{value} %" for value in range(11, -1, -1)]
    expect(page.locator("th[data-column=cpu]")).to_have_attribute("aria-sort", "descending")
    sort_by(page, "cpu")
    assert cells(page, 4) == [f"{value} %" for value in range(12)]
    expect(page.locator("th[data-column=cpu]")).to_have_attribute("aria-sort", "ascending")
    assert page.locator("th[data-column=name]").get_attribute("aria-sort") is None


def test_filters_add_up(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=40)
    for index, node in enumerate(stub.data.nodes):
        node["status"] = ("ready", "degraded")[index % 2]
        node["services_installed"] = ["asr", "rare"] if index % 4 == 0 else ["asr"]
        node["services_ready"] = []
    page = open_page(stub.url)
    expect(page.locator("#nodes-shown")).to_have_text("40 in all")
    page.select_option("#filter-status", "ready")
    expect(page.locator("#nodes-shown")).to_have_text("20 of 40 shown")
    page.select_option("#filter-service", "rare")
    expect(page.locator("#nodes-shown")).to_have_text("10 of 40 shown")
    assert set(cells(page, 2)) == {"ready"}
    name = names(page)[3]
    page.fill("#filter-text", name.upper())
    expect(rows(page)).to_have_count(1)
    assert names(page) == [name]
    page.fill("#filter-text", stub.data.nodes[4]["node_id"])
    poll("found by id", lambda: names(page) == [stub.data.nodes[4]["name"]])
    page.select_option("#filter-status", "offline")
    expect(rows(page)).to_have_count(0)


def test_filters_stay_through_refreshes(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=6)
    for node in stub.data.nodes:
        node["status"] = "offline"
    stub.data.nodes[0]["status"] = "draining"
    page = open_page(stub.url)
    page.select_option("#filter-status", "draining")
    expect(rows(page)).to_have_count(1)
    stub.data.nodes[0]["status"] = "offline"
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#filter-status")).to_have_value("draining")


def test_thousands_of_nodes_make_dozens_of_rows(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=5_000, interval_s=1.0)
    page = open_page(stub.url)
    expect(page.locator("#nodes-shown")).to_have_text("5,000 in all")
    assert 0 < rows(page).count() <= ROWS_MAX
    expect(page.locator("#node-table")).to_have_attribute("aria-rowcount", "5001")
    page.locator("#table-scroll").evaluate("e => { e.scrollTop = e.scrollHeight; }")
    last = max(node["name"] for node in stub.data.nodes)
    expect(rows(page).last.locator("th")).to_have_text(last)
    assert rows(page).last.get_attribute("aria-rowindex") == "5001"
    assert rows(page).count() <= ROWS_MAX
    assert page.evaluate("document.querySelectorAll('*').length") < 3_000
    sort_by(page, "load")
    expect(rows(page).first).to_have_attribute("aria-rowindex", "2")
    page.fill("#filter-text", last)
    expect(rows(page)).to_have_count(1)


def test_each_node_is_a_cell_of_the_map(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=5_000, interval_s=1.0)
    first = min(stub.data.nodes, key=lambda node: node["name"])
    page = open_page(stub.url)
    canvas = page.locator("#map-canvas")
    expect(canvas).to_have_attribute("aria-label", re.compile("5,000 nodes: [0-9,]+ ready"))
    canvas.hover(position={"x": 2, "y": 2})
    expect(page.locator("#map-tip")).to_contain_text(first["name"])
    canvas.click(position={"x": 2, "y": 2})
    expect(page.locator("#detail-id")).to_have_text(first["node_id"])


def test_the_map_shows_load_and_status_by_colour(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=4)
    stub.data.loads_change = False
    changes: tuple[Json, ...] = (
        {"status": "ready", "in_flight": 0, "external_jobs": 0},
        {"status": "ready", "in_flight": 4, "external_jobs": 0},
        {"status": "degraded"},
        {"status": "draining"},
    )
    for index, change in enumerate(changes):
        stub.data.nodes[index].update(name=f"n{index}", capacity=4, cpu_percent=0.0, **change)
    page = open_page(stub.url, expecting="willReadFrequently")
    expect(rows(page)).to_have_count(4)
    by_load = map_colours(page)
    assert len(set(by_load)) == 4, by_load
    page.select_option("#map-measure", "cpu")
    by_cpu = map_colours(page)
    assert by_cpu[0] == by_cpu[1] == by_load[0]
    page.select_option("#theme", "dark")
    assert map_colours(page)[0] != by_load[0], "the canvas did not follow the theme"


def map_colours(page: Page) -> list[str]:
    colours = page.evaluate(
        """() => [0, 1, 2, 3].map((i) => {
          const canvas = document.getElementById("map-canvas");
          return canvas.getContext("2d").getImageData(26 * i + 12, 12, 1, 1).data.join();
        })"""
    )
    return [str(colour) for colour in colours]


def test_details_show_all_fields_and_stay_live(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    node = stub.data.nodes[0]
    node.update(
        status="offline", gateway=None, heartbeat_age_ms=None, cpu_cores=48.0, gpu_memory_gb=80.0
    )
    node.update(services_installed=["a", "b", "c"], services_ready=["a"], services_marked=["b"])
    page = open_page(stub.url)
    page.fill("#filter-text", node["node_id"])
    rows(page).click()
    detail = page.locator("#detail-fields")
    for text in ("never", "48", "80 GB", "installed, not ready", "marked unavailable"):
        expect(detail).to_contain_text(text)
    assert page.locator("#drain").is_disabled()
    node["cpu_cores"] = 96.0
    expect(detail).to_contain_text("96")
    stub.data.nodes.remove(node)
    expect(page.locator("#outcome")).to_contain_text("no longer knows")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()


def test_the_table_works_by_keyboard(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=100)
    page = open_page(stub.url)
    rows(page).first.locator("button").focus()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.closest('tr').getAttribute('aria-rowindex')")
    assert focused == "32"
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-name")).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == name, "focus came back"


def test_rows_hold_still_under_the_pointer(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=5)
    for index, node in enumerate(stub.data.nodes):
        node.update(name=f"n{index}", cpu_percent=float(index))
    page = open_page(stub.url)
    sort_by(page, "cpu")
    expect(rows(page).first.locator("th")).to_have_text("n4")
    rows(page).first.hover()
    stub.data.nodes[0]["cpu_percent"] = 99.0
    expect(page.locator("#node-body")).to_contain_text("99 %")
    assert names(page)[0] == "n4"
    page.mouse.move(5, 5)
    expect(rows(page).first.locator("th")).to_have_text("n0")


def open_first(page: Page, node_id: str) -> None:
    page.fill("#filter-text", node_id)
    expect(rows(page)).to_have_count(1)
    rows(page).click()


def test_drain_asks_for_the_token_once(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    first, second = stub.data.nodes[:2]
    first["status"] = second["status"] = "ready"
    page = open_page(stub.url, expecting="401")
    open_first(page, first["node_id"])
    page.fill("#detail-reason", "kernel update")
    page.click("#drain")
    page.fill("#token-input", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-problem")).to_contain_text("did not accept")
    page.fill("#token-input", ADMIN_TOKEN)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#outcome")).to_have_text("Drain accepted.")
    expect(page.locator("#detail-fields")).to_contain_text("draining")
    assert stub.commands == [
        {"node_id": first["node_id"], "command": "drain", "reason": "kernel update"}
    ]
    page.click("#resume")
    expect(page.locator("#outcome")).to_have_text("Resume accepted.")
    page.reload()
    open_first(page, second["node_id"])
    page.click("#drain")
    expect(page.locator("#outcome")).to_have_text("Drain accepted.")
    assert [one["command"] for one in stub.commands] == ["drain", "resume", "drain"]
    stored = page.evaluate("[sessionStorage.length, localStorage.length]")
    assert stored == [1, 0], "the token is kept for the tab alone"


def test_without_a_token_nothing_is_changed(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.data.nodes[0]["status"] = "ready"
    page = open_page(stub.url)
    open_first(page, stub.data.nodes[0]["node_id"])
    page.click("#drain")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#outcome")).to_contain_text("Nothing was changed")
    assert stub.commands == []
    assert page.locator("#drain").is_enabled()


def test_a_refused_command_says_why(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.data.nodes[0]["status"] = "ready"
    stub.command_problem = (403, "server.admin_token is not set")
    page = open_page(stub.url, expecting="403")
    open_first(page, stub.data.nodes[0]["node_id"])
    page.click("#drain")
    page.fill("#token-input", ADMIN_TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_have_text("Drain failed: server.admin_token is not set")


def test_samples_of_refusals_open_their_node(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    node = stub.data.nodes[3]
    stub.data.refusal_samples = {"not_ready": [node["node_id"], "gone-already"]}
    page = open_page(stub.url)
    expect(page.get_by_role("button", name="gone-already")).to_be_disabled()
    page.locator("#refusals .chip", has_text=node["name"]).click()
    expect(page.locator("#detail-id")).to_have_text(node["node_id"])


def test_a_phone_has_the_columns_that_matter(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url, size=PHONE)
    expect(rows(page).first).to_be_visible()
    shown = page.locator("#node-head th:visible").all_inner_texts()
    assert [text.rstrip(" ↑") for text in shown] == ["Node", "Status", "Jobs", "CPU"]


@pytest.mark.parametrize("width", [390, 768, 1024, 1280, DESKTOP[0], 1920])
def test_no_column_of_the_table_is_too_narrow_for_its_label(
    run_stub: RunStub, open_page: OpenPage, width: int
) -> None:
    page = open_page(run_stub().url, size=(width, 900))
    expect(page.locator("#node-body tr").first).to_be_visible()
    heads = page.locator("#node-head th:visible")
    labels = heads.all_inner_texts()
    assert labels[0] == "Node"
    assert ("Heartbeat" in labels) == (width > 700)
    for head in heads.all():
        head.get_by_role("button").click()  # sorting by it must not take room from its label
        assert head.evaluate(SPARE_WIDTH) > -0.5, head.inner_text()
