"""Room for more jobs, load recounted, and models that nodes lacked."""

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, RunStub
from tests.browser.stub import Stub
from tests.browser.stub_data import CORE, NMT
from tests.browser.stub_insight import differing, no_audit
from tests.harness import poll


def room(page: Page, service: str) -> Locator:
    """Return the entries of classes that require this service."""
    return page.locator("#room > li").filter(has=page.get_by_text(service, exact=True))


def make_ready(stub: Stub) -> None:
    """Let every node have room for three jobs, and none wait."""
    stub.data.loads_change = False
    stub.data.queued = 0
    for node in stub.data.nodes:
        node.update(status="ready", capacity=4, in_flight=1, external_jobs=0, public=True)
        node.update(cpu_percent=10.0, services_marked=[])
        node.update(services_installed=[*CORE, "extra"], services_ready=[*CORE, "extra"])


def test_room_is_told_by_requirement_class(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    make_ready(stub)
    stub.data.classes = [CORE, ("extra",), ("rare",)]
    stub.data.nodes[0]["cpu_percent"] = 95.0
    stub.data.nodes[1]["status"] = stub.data.nodes[2]["status"] = "draining"
    page = open_page(stub.url)
    expect(page.locator("#room > li")).to_have_count(3)
    whole = room(page, NMT)
    expect(whole).to_contain_text("27 more fit")
    expect(whole).to_contain_text("on 9 nodes, then no free slot")
    expect(whole).to_contain_text("none waiting · if refused, retry after 100 ms")
    whole.get_by_text("3 nodes can't take one (9 slots)").click()
    reasons = whole.get_by_role("listitem")
    # What keeps most back comes first.
    expect(reasons).to_have_text(
        ["Draining 2 nodes, 6 slots", "CPU over limit 1 node, 3 slots"], use_inner_text=True
    )
    rare = page.locator("#room > li").first
    expect(rare).to_contain_text("0 more fit")
    expect(rare).to_contain_text("The next one waits: service not installed, 10 nodes, 30 slots")
    expect(rare.locator(".tag")).to_have_text(["rare"])  # those without room come first


def test_room_is_up_to_date(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    make_ready(stub)
    stub.data.classes = [CORE, ("extra",)]
    page = open_page(stub.url)
    expect(page.locator("#room > li")).to_have_count(2)
    second = room(page, "extra")
    expect(second).to_contain_text("36 more fit")
    expect(second.get_by_role("listitem")).to_have_count(0)
    for node in stub.data.nodes:
        node["in_flight"] = 4
    expect(second).to_contain_text("The next one waits: no free slot, 12 nodes")
    expect(second.get_by_role("listitem")).to_have_text("No free slot12 nodes")
    stub.data.queued = 7
    expect(page.locator("#room-note")).to_have_text("7 jobs waiting")
    expect(room(page, NMT)).to_contain_text("7 jobs waiting · if refused, retry after 240 ms")
    stub.data.nodes.clear()
    expect(second).to_contain_text("The next one waits: no nodes")


def test_a_clean_audit_is_a_quiet_line(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    stub.data.audit = no_audit()
    page = open_page(stub.url)
    expect(page.locator("#audit-verdict")).to_contain_text("All counts of load agree")
    expect(page.locator("#audit-oldest")).to_contain_text("412 ms old")
    expect(page.get_by_role("heading", name="Found since the start")).to_be_hidden()
    expect(page.locator("#alarm")).to_be_hidden()
    expect(page).to_have_title("Lingua scheduler")


def test_wrong_counts_are_an_alarm_that_names_the_nodes(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    page = open_page(stub.url)
    expect(page.locator("#audit-verdict")).to_contain_text("All counts of load agree")
    wrong = stub.data.nodes[:2]
    stub.data.audit = {
        **no_audit(),
        "differing_nodes": 2,
        "differing": differing(wrong),
    }
    alarm = page.get_by_role("alert").filter(has_text="The load of 2 nodes is counted wrong:")
    expect(alarm).to_be_visible()
    expect(page).to_have_title("Alarm · Lingua scheduler")
    names = [node["name"] for node in wrong]
    assert alarm.get_by_role("button").all_inner_texts() == names
    expect(page.locator("#audit-verdict")).to_contain_text("2 nodes with another count")
    rows = page.locator("#audit-differing tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        [name, "4", "2", "12 s"] for name in names
    ]
    alarm.get_by_role("button").last.click()
    expect(page.locator("#detail-name")).to_have_text(names[1])
    page.keyboard.press("Escape")
    stub.data.audit = no_audit()
    expect(alarm).to_be_hidden()
    expect(page).to_have_title("Lingua scheduler")


def test_an_alarm_is_read_out_once(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub(nodes=40)
    stub.data.audit = {
        **no_audit(),
        "differing_nodes": 31,
        "differing": differing(stub.data.nodes[:20]),
    }
    page = open_page(stub.url)
    alarm = page.locator("#alarm")
    expect(alarm).to_contain_text("and 23 more")
    expect(page.locator("#audit-more")).to_have_text("and 11 more")
    expect(alarm.get_by_role("button").last).to_be_enabled()
    page.evaluate(
        """() => {
          window.changes = 0;
          new MutationObserver((seen) => (window.changes += seen.length)).observe(
            document.getElementById("alarm"),
            { subtree: true, childList: true, characterData: true, attributes: true },
          );
        }"""
    )
    for row in stub.data.audit["differing"]:
        row["held"] = 777
    expect(page.locator("#audit-differing tr").last).to_contain_text("777")
    assert page.evaluate("window.changes") == 0


def test_what_the_audit_found_is_counted(run_stub: RunStub, open_page: OpenPage) -> None:
    stub = run_stub()
    node = stub.data.nodes[0]
    stub.data.audit = {
        **no_audit(),
        "slots_freed_total": 1_234,
        "righted": [{"node_id": node["node_id"], "slots": 1_200}, {"node_id": "away", "slots": 34}],
        "jobs_overdue_total": 5,
    }
    page = open_page(stub.url)
    found = page.locator("#audit-totals > li")
    expect(found).to_have_count(2)
    expect(found.first).to_contain_text("Slots freed that no attempt held1,234")
    expect(found.last).to_contain_text("Jobs overdue")
    expect(found.last).to_contain_text("5")
    expect(page.get_by_role("button", name="away 34")).to_be_disabled()
    page.get_by_role("button", name=f"{node['name']} 1,200").click()
    expect(page.locator("#detail-id")).to_have_text(node["node_id"])


def test_missing_models_are_told_by_service_reason_and_node(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    node = stub.data.nodes[0]
    stub.data.set_missing_models(
        by_service={"emotion": 240, "other": 5},
        by_reason={"version_mismatch": 245},
        by_node={node["node_id"]: 200},
    )
    page = open_page(stub.url)
    expect(page.locator("#models-note")).to_have_text("245 since the start")
    services = page.locator("#models-services > li")
    assert [text.split("\n") for text in services.all_inner_texts()] == [
        ["emotion", "240", "220 marks set, 20 withheld"],
        ["Not named, or unknown", "5"],
    ]
    expect(page.locator("#models-reasons > li")).to_have_text("Version mismatch245")
    expect(page.locator("#models-rest")).to_have_text("and 45 from others")
    page.get_by_role("button", name=f"{node['name']} 200").click()
    expect(page.locator("#detail-id")).to_have_text(node["node_id"])


def test_metrics_are_fetched_only_when_a_model_was_missing(
    run_stub: RunStub, open_page: OpenPage
) -> None:
    stub = run_stub()
    stub.data.dispatcher["model_not_available_total"] = 0
    page = open_page(stub.url)
    poll("three rounds", lambda: stub.requests.count("GET /api/v1/nodes") > 2)
    assert stub.requests.count("GET /api/v1/metrics") == 0
    title = page.get_by_role("heading", name="Answered with MODEL_NOT_AVAILABLE")
    expect(title).to_be_hidden()
    stub.data.set_missing_models(by_service={NMT: 7, "other": 0}, by_reason={}, by_node={})
    expect(title).to_be_visible()
    expect(page.locator("#models-services")).to_contain_text(NMT)
    rounds = stub.requests.count("GET /api/v1/nodes")
    poll("more rounds", lambda: stub.requests.count("GET /api/v1/nodes") > rounds + 2)
    assert stub.requests.count("GET /api/v1/metrics") == 1, "nothing new was to be had"
