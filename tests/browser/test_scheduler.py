"""The page over a real scheduler with simulated nodes and a session that speaks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest
from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.browser.conftest import OpenPage
from tests.harness import Overrides, RunningScheduler, RunScheduler, poll
from tests.integration.peers import INIT, encoded

TOKEN = "open sésame"  # noqa: S105 - of this test
SETTINGS: Overrides = {"stats.refresh_seconds": 0.25, "server.admin_token": TOKEN}
GONE = "ERR_|Failed to load resource"


class RunNodes(Protocol):
    """The `run_nodes` fixture."""

    def __call__(
        self, scheduler: RunningScheduler, count: int, name: str = "sim", *options: str
    ) -> None:
        """Run simulated nodes until the test ends."""


@pytest.fixture
def run_nodes() -> Iterator[RunNodes]:
    """Run simulated nodes in processes of their own."""
    with ExitStack() as stack:

        def run(scheduler: RunningScheduler, count: int, name: str = "sim", *options: str) -> None:
            command = [sys.executable, "-m", "scheduler", "node", "sim", "--name", name]
            process = subprocess.Popen(
                [
                    *command,
                    "--url",
                    scheduler.node_url,
                    f"--count={count}",
                    "--heartbeat-seconds=0.5",
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)

        yield run


@contextmanager
def a_session(scheduler: RunningScheduler) -> Iterator[ClientConnection]:
    with connect(scheduler.session_url, proxy=None) as socket:
        socket.send(json.dumps({"type": "session_init", **INIT}))
        receive(socket, "session_init_ack")
        yield socket


def receive(socket: ClientConnection, kind: str) -> None:
    while json.loads(socket.recv(timeout=15))["type"] != kind:
        pass


def speak(socket: ClientConnection, count: int) -> None:
    """Say that many utterances, and wait for what each comes to."""
    for _ in range(count):
        chunk = {"seq": 0, "is_final": True, "payload": encoded(b"speech")}
        socket.send(json.dumps({"type": "audio_chunk", **chunk}))
        receive(socket, "translation_result")


def tile(page: Page, name: str) -> str:
    tiles = page.locator(".tile", has=page.get_by_text(name, exact=True))
    return tiles.inner_text()


def test_it_shows_nodes_sessions_and_jobs_as_they_come(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    page = open_page(scheduler.ops_url)
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#map-empty")).to_be_visible()
    run_nodes(scheduler, 5)
    expect(page.locator("#node-body .status.ready")).to_have_count(5)
    expect(page.locator("#services")).to_contain_text("node-inference")
    with a_session(scheduler) as session:
        poll("the session", lambda: tile(page, "Sessions").split("\n")[1] == "1")
        expect(page.locator("#languages")).to_contain_text("Chinese (zh)")
        speak(session, 3)
        expect(page.locator("#tiles")).to_contain_text("3 completed")
    expect(page.locator("#languages")).to_contain_text("No session is open.")
    expect(page.locator("#processes .status.ready")).to_have_count(4)
    expect(page.locator("#charts .uplot")).to_have_count(6)
    expect(page.locator("#events")).to_contain_text("now ready")


def test_it_shows_where_the_time_of_jobs_went_and_how_they_were_placed(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    page = open_page(scheduler.ops_url)
    expect(page.locator("#waterfall-note")).to_contain_text("No job in the last")
    expect(page.locator("#room")).to_contain_text("0 more fit")
    expect(page.locator("#room")).to_contain_text("The next one waits: no nodes")
    expect(page.locator("#decisions-rows")).to_contain_text("No decision has been recorded yet.")
    run_nodes(scheduler, 3, "sim", "--partials=2")
    expect(page.locator("#room")).to_contain_text("12 more fit")
    with a_session(scheduler) as session:
        speak(session, 4)
    page.get_by_role("button", name="Since start").click()
    for name in ("Receive", "Queue", "Node", "First partial", "Order", "End to end"):
        row = page.locator("#waterfall-rows").get_by_role("row", name=name)
        expect(row.get_by_role("cell").last).to_have_text("4")
    expect(page.locator("#waterfall-note")).to_have_text("4 jobs since the start")
    expect(page.locator("#audit-verdict")).to_contain_text("All counts of load agree")
    rows = page.locator("#decisions-rows tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("Placed")
    expect(
        page.locator("#alarm, #shadow, #models, [data-trouble]").locator("visible=true")
    ).to_have_count(0)


def test_it_counts_models_that_were_missing(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    run_nodes(scheduler, 1, "sim", "--fail-rate=1", "--fail-code=MODEL_NOT_AVAILABLE")
    page = open_page(scheduler.ops_url)
    expect(page.locator("#node-body .status.ready")).to_have_count(1)
    with a_session(scheduler) as session:
        chunk = {"seq": 0, "is_final": True, "payload": encoded(b"speech")}
        session.send(json.dumps({"type": "audio_chunk", **chunk}))
        receive(session, "error")
    expect(page.locator("#models-note")).to_have_text("1 since the start")
    expect(page.locator("#models-services")).to_contain_text("Not named, or unknown")
    expect(page.locator("#models-reasons")).to_contain_text("Unspecified")
    expect(page.locator("#models").get_by_role("button", name="sim-0 1")).to_be_enabled()


def test_it_says_why_a_job_was_refused(run_scheduler: RunScheduler, open_page: OpenPage) -> None:
    scheduler = run_scheduler({**SETTINGS, "scheduler.job_timeout.pending_timeout_seconds": 0.2})
    page = open_page(scheduler.ops_url)
    with a_session(scheduler) as session:
        chunk = {"seq": 0, "is_final": True, "payload": encoded(b"speech")}
        session.send(json.dumps({"type": "audio_chunk", **chunk}))
        receive(session, "error")
    expect(page.locator("#refusals")).to_contain_text("No available node")
    expect(page.locator("#tiles")).to_contain_text("1 failed in all")


def test_it_drains_and_resumes_a_node(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    run_nodes(scheduler, 2)
    page = open_page(scheduler.ops_url)
    rows = page.locator("#node-body tr")
    expect(page.locator("#node-body .status.ready")).to_have_count(2)
    rows.first.click()
    page.click("#drain")
    page.fill("#token-input", TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_have_text("Drain accepted.")
    expect(page.locator("#detail-fields")).to_contain_text("draining")
    expect(rows.first.locator(".status")).to_have_text("draining")
    expect(rows.last.locator(".status")).to_have_text("ready")
    page.click("#resume")
    expect(page.locator("#outcome")).to_have_text("Resume accepted.")
    expect(rows.first.locator(".status")).to_have_text("ready")


def test_a_hostile_name_stays_text(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    run_nodes(scheduler, 1, "<img src=x onerror=alert(1)>")
    page = open_page(scheduler.ops_url)
    expect(page.locator("#node-body th")).to_have_text("<img src=x onerror=alert(1)>-0")
    assert page.locator("img").count() == 0


def test_it_survives_the_death_of_the_stats_process(
    run_scheduler: RunScheduler, open_page: OpenPage
) -> None:
    scheduler = run_scheduler(SETTINGS)
    page = open_page(scheduler.ops_url, expecting=GONE)
    expect(page.locator("#state")).to_have_text("Ready")
    (stats,) = scheduler.children("stats")
    stats.kill()
    expect(page.locator("#events")).to_contain_text("started anew")
    expect(page.locator("#state")).to_have_text("Ready")
    restarts = page.locator("#processes tr", has_text="stats").locator("td").last
    expect(restarts).to_have_text("1")


def test_it_survives_a_restart_of_the_scheduler(
    run_scheduler: RunScheduler, run_nodes: RunNodes, open_page: OpenPage
) -> None:
    first = run_scheduler(SETTINGS)
    run_nodes(first, 2)
    page = open_page(first.ops_url, expecting=GONE)
    expect(page.locator("#node-body .status.ready")).to_have_count(2)
    ports = {
        "server.port": int(first.endpoints.public.rpartition(":")[2]),
        "server.ops_port": int(first.endpoints.operations.rpartition(":")[2]),
    }
    first.stop()
    expect(page.locator("#state")).to_have_text("Disconnected")
    run_scheduler({**SETTINGS, **ports})
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#node-body .status.ready")).to_have_count(2)
    expect(page.locator("#events")).to_contain_text("is reached again")
