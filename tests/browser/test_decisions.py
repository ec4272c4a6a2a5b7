"""How nodes were chosen lately, and what a shadow strategy would have chosen."""

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, RunStub
from tests.browser.stub_insight import decision
from tests.harness import poll

NOTHING = "\u2013"
"""What the page shows where there is no figure."""


def test_the_last_decisions_are_shown(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    one, other = stub.data.nodes[:2]
    placed = decision(
        node=one["node_id"], load=2, runner_up=other["node_id"], runner_up_load=3, eligible=1_140
    )
    full = decision(
        job_id="job-A-2", outcome="refused", excluded={"draining": 1, "no_free_slot": 11}, queued=64
    )
    gone = decision(job_id="job-A-3", outcome="served", node="gone", load=4)
    stub.data.last_decisions = [placed, full, gone]
    page = open_page(stub.url)
    rows = page.locator("#decisions-rows tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_role("columnheader", name="Shadow")).to_be_hidden()
    assert [row.split("\t")[1:] for row in rows.all_inner_texts()] == [
        ["job-A-1", "Placed", f"{one['name']} 2", f"{other['name']} 3", "1,140", "0"],
        ["job-A-2", "Refused", "No free slot 11 · Draining 1", NOTHING, "0", "64"],
        ["job-A-3", "Served", "gone 4", NOTHING, "0", "0"],
    ]
    stub.data.last_decisions = [{**placed, "job_id": "job-A-4", "shadow": one["node_id"]}]
    expect(rows).to_have_count(1)
    expect(page.get_by_role("columnheader", name="Shadow")).to_be_visible()
    expect(rows).to_contain_text("the same")


def test_decisions_hold_still_under_the_pointer(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    node = stub.data.nodes[0]["node_id"]
    stub.data.last_decisions = [decision(node=node)]
    page = open_page(stub.url)
    rows = page.locator("#decisions-rows tr")
    expect(rows).to_contain_text("job-A-1")
    rows.first.hover()
    expect(page.locator("#decisions-held")).to_be_visible()
    stub.data.last_decisions = [decision(node=node, job_id="job-A-2")]
    rounds = stub.requests.count("GET /api/v1/decisions")
    poll("two rounds", lambda: stub.requests.count("GET /api/v1/decisions") > rounds + 2)
    assert "job-A-1" in rows.first.inner_text()
    page.mouse.move(5, 5)
    expect(rows).to_contain_text("job-A-2")
    expect(page.locator("#decisions-held")).to_be_hidden()


def test_a_nodes_details_have_the_decisions_about_it(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    one, other, third = stub.data.nodes[:3]
    others = [decision(node=third["node_id"], job_id=f"job-{n}") for n in range(40)]
    stub.data.last_decisions = [
        *others,
        decision(node=one["node_id"], load=1, runner_up=other["node_id"]),
        decision(job_id="job-B", node=other["node_id"], runner_up=one["node_id"], runner_up_load=3),
    ]
    page = open_page(stub.url)
    page.fill("#filter-text", one["node_id"])
    page.locator("#node-body tr").click()
    about = page.locator("#detail-fields section", has_text="Last decisions").locator("dd")
    expect(about).to_have_count(2)
    expect(about.first).to_have_text(f"placed at load 1; next best {other['name']}")
    expect(about.last).to_have_text(f"next best at load 3; placed on {other['name']}")
    stub.data.last_decisions = others
    expect(page.locator("#detail-fields")).to_contain_text("None of the last ones.")


def test_a_shadow_strategy_is_compared_where_one_is_set(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    stub.data.dispatcher.update(shadow_compared_total=0, shadow_differed_total=0)
    page = open_page(stub.url)
    expect(page.locator("#audit-verdict")).to_contain_text("All counts of load agree")
    heading = page.get_by_role("heading", name="Shadow strategy")
    expect(heading).to_be_hidden()
    stub.data.dispatcher.update(shadow_compared_total=20_000, shadow_differed_total=2_400)
    expect(heading).to_be_visible()
    text = page.locator("#shadow-text")
    expect(text).to_have_text("Would have chosen otherwise in 12 % of 20,000 recorded decisions.")
    stub.data.dispatcher["shadow_differed_total"] = 3
    expect(text).to_contain_text("in < 0.1 % of")
