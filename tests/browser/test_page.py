"""The page as a whole: what it shows, in which state, in both themes and on a phone."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, RunStub
from tests.browser.stub import Stub
from tests.harness import poll

GONE = "ERR_|Failed to load resource"
TITLES = (
    "Over time",
    "Where the time goes",
    "Placement checked",
    "Room for more jobs",
    "Nodes",
    "Last decisions",
    "Why jobs were refused",
    "Last events",
    "Services",
    "Languages",
    "Compute power left",
    "Processes",
)


def tile(page: Page, name: str) -> str:
    return (
        page.locator(".tile", has=page.get_by_text(name, exact=True)).locator(".value").inner_text()
    )


def test_all_parts_are_there_and_filled(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#version")).to_have_text("0.1.0")
    for title in TITLES:
        assert page.get_by_role("heading", name=title, exact=True).is_visible(), title
    assert page.locator(".tile").count() == 7
    expect(page.locator("#charts .uplot")).to_have_count(6)
    expect(page.locator("#services tr")).to_have_count(7)
    expect(page.locator("#languages li")).to_have_count(8)
    expect(page.locator("#power li")).to_have_count(3)
    expect(page.locator("#processes tr")).to_have_count(5)
    expect(page.locator("#events li")).to_have_count(5)
    expect(page.locator("#refusals")).to_contain_text("No free slot")
    ready = sum(node["status"] == "ready" for node in stub.data.nodes)
    poll("nodes counted", lambda: tile(page, "Nodes ready") == f"{ready} / 12")


def test_figures_follow_the_event_stream(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    expect(page.locator("#state")).to_have_text("Ready")
    poll("a stream", lambda: stub.streams)
    polled = stub.requests.count("GET /api/v1/stats")
    stub.data.jobs["completed"] = 42_000_000
    expect(page.locator("#tiles")).to_contain_text("42M completed")
    stub.data.nodes = stub.data.nodes[:5]
    poll("fewer nodes", lambda: tile(page, "Nodes ready").endswith("/ 5"))
    assert stub.requests.count("GET /api/v1/stats") <= polled + 1, "polled beside the stream"


def test_without_a_stream_it_polls(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.streams_max = 0
    page = open_page(stub.url, expecting="503")
    expect(page.locator("#state")).to_have_text("Ready")
    stub.data.jobs["completed"] = 43_000_000
    expect(page.locator("#tiles")).to_contain_text("43M completed")
    stub.streams_max = 1
    poll("the stream is tried again", lambda: stub.streams)


def test_old_figures_are_marked_stale(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    expect(page.locator("#state")).to_have_text("Ready")
    stub.publishing = False
    expect(page.locator("#state")).to_have_text("Stale")
    expect(page.locator("#notice")).to_contain_text("no longer renewed")
    mark = page.locator("#nodes-title").evaluate("e => getComputedStyle(e, '::after').content")
    assert mark == '"stale"'
    stub.publishing = True
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#notice")).to_be_hidden()


def test_figures_that_are_old_when_first_seen_are_stale(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    stub.publishing = False
    stub.make_old(600_000)
    page = open_page(stub.url)
    expect(page.locator("#state")).to_have_text("Stale")
    expect(page.locator("#age")).to_contain_text("10 min")


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_hidden_page_frees_its_stream(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url, expecting="503")
    expect(page.locator("#state")).to_have_text("Ready")
    poll("a stream", lambda: stub.streams)
    hide(page, True)
    poll("no stream", lambda: not stub.streams)
    nodes_asked = stub.requests.count("GET /api/v1/nodes")
    stub.data.missing = ["gateway 1: not running"]
    expect(page).to_have_title("Not ready · Lingua scheduler")
    assert stub.requests.count("GET /api/v1/nodes") <= nodes_asked + 1
    stub.data.missing = []
    stub.data.jobs["completed"] = 44_000_000
    hide(page, False)
    poll("a stream again", lambda: stub.streams)
    expect(page.locator("#tiles")).to_contain_text("44M completed")
    expect(page).to_have_title("Lingua scheduler")


def test_it_says_what_is_missing(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.data.missing = ["gateway 1: not running"]
    page = open_page(stub.url, expecting="503")
    expect(page.locator("#state")).to_have_text("Not ready")
    expect(page.locator("#notice")).to_contain_text("gateway 1: not running")
    stub.data.missing = []
    expect(page.locator("#state")).to_have_text("Ready")


def test_it_outlives_the_server(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url, expecting=GONE)
    expect(page.locator("#state")).to_have_text("Ready")
    stub.stop_serving()
    expect(page.locator("#state")).to_have_text("Disconnected")
    expect(page).to_have_title("Disconnected · Lingua scheduler")
    stub.data.generation = 77
    stub.serve_again()
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#generation")).to_have_text("77")
    expect(page.locator("#events")).to_contain_text("started anew")


def test_missing_parts_of_the_api_leave_the_rest(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.broken = {f"/api/v1/{name}" for name in ("history", "refusals", "waterfall", "metrics")}
    page = open_page(stub.url, expecting="500")
    expect(page.locator("#node-body tr")).to_have_count(12)
    expect(page.locator("#state")).to_have_text("Ready")


def test_an_empty_scheduler_is_no_error(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=0, history=1)
    page = open_page(stub.url)
    expect(page.locator("#map-empty")).to_be_visible()
    expect(page.locator("#state")).to_have_text("Ready")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (1024, 768)], ids=["desktop", "phone", "tablet"])
def test_nothing_is_wider_than_the_window(
    run_stub: RunStub, open_page: OpenPage, size: tuple[int, int]
) -> None:
    stub = run_stub(nodes=200)
    stub.data.nodes[0]["name"] = "n" * 64
    stub.data.nodes[0]["node_id"] = "i" * 128
    page = open_page(stub.url, size=size)
    expect(page.locator("#charts .uplot")).to_have_count(6)
    expect(page.locator("#node-body tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.fill("#filter-text", "nnnn")
    page.locator("#node-body tr").click()
    expect(page.locator("#detail")).to_be_visible()
    assert page.locator("#detail").evaluate("e => e.scrollWidth <= e.clientWidth")


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_it_follows_the_system_until_a_theme_is_chosen(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    page = open_page(stub.url, theme="dark")
    dark = background(page)
    page.emulate_media(color_scheme="light")
    light = background(page)
    assert light != dark
    page.select_option("#theme", "dark")
    assert background(page) == dark
    page.reload()
    expect(page.locator("#theme")).to_have_value("dark")
    assert background(page) == dark
    page.select_option("#theme", "auto")
    assert background(page) == light


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const backOf = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!hasText || !element.checkVisibility() || element.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(backOf(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast(run_stub: RunStub, open_page: OpenPage, theme: str) -> None:
    stub = run_stub()
    stub.data.missing = ["gateway 1: not running"]
    wrong = {"node_id": stub.data.nodes[0]["node_id"], "in_flight": 2, "held": 1, "seconds": 9.0}
    stub.data.audit |= {"differing_nodes": 1, "differing": [wrong], "jobs_overdue_total": 2}
    stub.data.classes.append(("on-no-node",))
    stub.data.queued = 3
    page = open_page(stub.url, theme=theme, expecting="503")
    for place in ("#notice", "#alarm", "#node-body tr", "#decisions-rows .chip", "#models .bars"):
        expect(page.locator(place).first).to_be_visible()
    expect(page.locator("#room")).to_contain_text("0 more fit")
    assert page.evaluate(CONTRAST) == []


def test_each_control_has_a_name_and_ids_are_unique(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    expect(page.locator("#node-body tr").first).to_be_visible()
    page.locator("#node-body tr").first.click()
    nameless = page.evaluate(
        """() => [...document
          .querySelectorAll("button, input, select, #map canvas, dialog, section")]
          .filter((e) => !(e.ariaLabel || e.getAttribute("aria-labelledby") || e.labels?.length
                           || e.textContent.trim()))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    labelled = page.evaluate(
        """() => [...document.querySelectorAll("[aria-labelledby]")]
          .map((e) => e.getAttribute("aria-labelledby"))"""
    )
    assert set(labelled) <= set(ids)


def test_the_span_of_the_charts_can_be_chosen(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(history=720)
    page = open_page(stub.url)
    chart = page.locator("#charts [role=img]").first
    expect(chart).to_have_attribute("aria-label", re.compile("Jobs per second over time; now"))
    five = page.get_by_role("button", name="5 min", exact=True)
    five.click()
    expect(five).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="All")).to_have_attribute("aria-pressed", "false")
    page.locator("#charts .u-over").first.hover()
    expect(page.locator("#charts figcaption .quiet").first).to_have_text(re.compile(r"\d\d:\d\d"))


def test_texts_of_strangers_stay_text(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    hostile = "<img src=x onerror=alert(1)>\"'&amp;"
    poison(stub, hostile)
    page = open_page(stub.url)
    page.fill("#filter-text", "onerror")
    expect(page.locator("#node-body tr")).to_have_count(1)
    assert page.locator("#node-body th").inner_text() == hostile
    for place in ("#services", "#languages", "#refusals", "#events"):
        expect(page.locator(place)).to_contain_text("onerror=alert(1)>")
    page.locator("#node-body tr").click()
    assert page.locator("#detail-name").inner_text() == hostile
    expect(page.locator("#detail-fields")).to_contain_text("onerror=alert(1)>")
    assert page.locator("img, script:not([src])").count() == 0


def poison(stub: Stub, hostile: str) -> None:
    """Put a text where nodes, clients or the hub can put theirs."""
    node = stub.data.nodes[0]
    node["name"] = node["node_id"] = hostile
    node["services_installed"] = node["services_ready"] = [hostile]
    stub.data.events.append({"t_ms": 1, "kind": hostile, "text": hostile})
    stub.data.language_usage = {hostile: {"as_source": 1, "as_target": 1, "total": 2}}
    stub.data.refusal_samples = {"not_ready": [hostile]}
    json.dumps(stub.data.refusals())
