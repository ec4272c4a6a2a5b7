"""The parts about stages, load and decisions together: renewed, bounded, harmless."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, RunStub
from tests.browser.stub_insight import decision, differing, no_audit
from tests.harness import poll

SERVICE = "s" * 64


def trouble(page: Page, title: str) -> str:
    """Return the mark after a title, none: ""."""
    content = page.get_by_role("heading", name=title).evaluate(
        "e => getComputedStyle(e, '::after').content"
    )
    return str(content).strip('"').replace("none", "")


def test_a_part_that_is_not_renewed_says_so(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.broken = {"/api/v1/capacity"}
    page = open_page(stub.url, expecting="500")
    poll("unavailable", lambda: trouble(page, "Room for more jobs") == "unavailable")
    expect(page.locator("#waterfall-note")).to_contain_text("jobs")
    stub.broken = {"/api/v1/waterfall", "/api/v1/decisions"}
    poll("stale", lambda: trouble(page, "Where the time goes") == "stale")
    poll("stale too", lambda: trouble(page, "Last decisions") == "stale")
    expect(page.locator("#room > li")).to_have_count(3)
    assert trouble(page, "Room for more jobs") == ""
    expect(page.locator("#state")).to_have_text("Ready")
    stub.broken = set()
    poll("renewed", lambda: trouble(page, "Where the time goes") == "")


def test_each_document_is_fetched_once_a_round(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    open_page(stub.url)
    poll("rounds", lambda: stub.requests.count("GET /api/v1/nodes") > 3)
    nodes = stub.requests.count("GET /api/v1/nodes")
    for name in ("waterfall", "capacity", "decisions", "refusals", "history"):
        assert abs(stub.requests.count(f"GET /api/v1/{name}") - nodes) <= 1, name
    assert stub.requests.count("GET /api/v1/metrics") <= 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (1024, 768)], ids=["desktop", "phone", "tablet"])
def test_long_names_and_many_classes_fit(
    run_stub: RunStub, open_page: OpenPage, size: tuple[int, int]
) -> None:
    stub = run_stub(nodes=40)
    for node in stub.data.nodes[:20]:
        node["name"] = "n" * 64
    stub.data.audit = {
        **no_audit(),
        "differing_nodes": 1_000,
        "differing": differing(stub.data.nodes[:20]),
        "slots_freed_total": 10**12,
        "righted": [{"node_id": n["node_id"], "slots": 10**10} for n in stub.data.nodes[:20]],
    }
    stub.data.classes = [tuple(f"{SERVICE}{n}-{k}" for k in range(n)) for n in range(24)]
    stub.data.set_missing_models(
        by_service={SERVICE: 10**12, "other": 0},
        by_reason={"not_installed": 10**12},
        by_node={n["node_id"]: 10**10 for n in stub.data.nodes[:20]},
    )
    page = open_page(stub.url, size=size)
    expect(page.locator("#room > li")).to_have_count(24)
    expect(page.locator("#models-services")).to_contain_text(SERVICE)
    expect(page.locator("#decisions-rows tr")).to_have_count(10)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for panel in page.locator("main .panel").all():
        assert panel.evaluate("e => e.scrollWidth <= e.clientWidth"), panel.inner_text()[:40]


def test_names_of_strangers_stay_text(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    hostile = "<img src=x onerror=alert(1)>\"'&amp;"
    stub.data.nodes[0]["node_id"] = stub.data.nodes[0]["name"] = hostile
    stub.data.audit = {
        **no_audit(),
        "differing_nodes": 1,
        "differing": differing(stub.data.nodes[:1]),
    }
    stub.data.classes = [(hostile,)]
    stub.data.set_missing_models(
        by_service={hostile: 9, "other": 0}, by_reason={hostile: 9}, by_node={hostile: 9}
    )
    stub.data.last_decisions = [decision(node=hostile, job_id=hostile)]
    page = open_page(stub.url)
    for place in ("#alarm", "#checks", "#room", "#models", "#decisions-rows"):
        expect(page.locator(place)).to_contain_text("onerror=alert(1)>")
    assert page.locator("img").count() == 0
