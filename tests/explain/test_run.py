"""`explain` as a process over real schedulers: what it says is what then happens."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from scheduler.explain.ask import Ask
from scheduler.explain.run import NODES_SHOWN, explain_ask
from scheduler.protocol.ids import slot_of
from scheduler.selection.scores import INFINITE
from tests.explain.site import make_site
from tests.harness import RunningScheduler, RunScheduler, environment
from tests.integration.peers import FakeNode, a_node, a_session, hold, raw_node, until

DEADLINE_SECONDS = 30.0
# On a busy machine the looks take their time: jobs and nodes stay as they are meanwhile.
PATIENT: dict[str, object] = {
    "scheduler.job_timeout_seconds": 600,
    "scheduler.job_timeout.pending_timeout_seconds": 600,
    "scheduler.node_health.heartbeat_timeout_seconds": 600,
}
UTILIZATION = {"scheduler.load_balancer.strategy": "least_utilization", "gateways": 2}


def run(runtime_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scheduler", "explain", "--runtime-dir", str(runtime_dir)]
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env=environment({}),
        check=False,
    )


async def said(scheduler: RunningScheduler, *options: str) -> dict[str, Any]:
    """Return what `--json` prints, without keeping peers of this process from their sockets."""
    result = await asyncio.to_thread(run, scheduler.runtime_dir, "--json", *options)
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def node_with_own_work(stack: AsyncExitStack, url: str, slots: int, own: int) -> FakeNode:
    node = await stack.enter_async_context(raw_node(url, hold))
    await node.register(max_concurrent_jobs=slots)
    await node.heartbeat({"running_jobs": own})
    await node.status("ready")
    return node


@pytest.mark.parametrize("settings", [{}, UTILIZATION], ids=["connections", "utilization"])
def test_the_next_job_goes_where_it_says_and_the_record_agrees(
    run_scheduler: RunScheduler, settings: dict[str, object]
) -> None:
    scheduler = run_scheduler(PATIENT | settings)

    async def follow() -> None:
        async with AsyncExitStack() as stack:
            shapes = [(2, 0), (4, 1), (8, 3), (2, 0)]
            nodes = {}
            for slots, own in shapes:
                node = await node_with_own_work(stack, scheduler.node_url, slots, own)
                nodes[node.node_id] = node
            session = await stack.enter_async_context(a_session(scheduler.session_url))
            for index in range(8):
                told = await said(scheduler)
                assert told["outlook"]["action"] == "placed"
                await session.speak(index)
                chosen = nodes[told["chosen"]["node_id"]]
                job = await chosen.job(index)
                (past,) = (await said(scheduler, "--job", job["job_id"]))["decisions"]
                assert past["node"]["node_id"] == told["chosen"]["node_id"]
                assert past["load"] == told["chosen"]["load"]
                assert past["runner_up"]["node_id"] == told["runner_up"]["node_id"]
                assert past["runner_up_load"] == told["runner_up"]["load"]
                assert past["eligible"] == told["eligible"]
                assert past["services"] == told["services"]
            recent = (await said(scheduler, "--recent", "3"))["decisions"]
            assert [one["number"] for one in recent] == [5, 6, 7]
            for node in nodes.values():
                for job in node.assigned:
                    await node.complete(job)
            for index in range(8):
                await session.result(index)

    asyncio.run(follow())


def test_a_job_that_would_wait_does_and_its_record_says_why(run_scheduler: RunScheduler) -> None:
    scheduler = run_scheduler(PATIENT)

    async def follow() -> None:
        async with (
            a_node(scheduler.node_url, hold, max_concurrent_jobs=1) as node,
            a_node(scheduler.node_url, hold, ("node-inference",)),
            a_session(scheduler.session_url) as session,
        ):
            await session.speak(0)
            first = await node.job(0)
            told = await said(scheduler)
            assert told["outlook"]["action"] == "waits"
            assert {reason: one["nodes"] for reason, one in told["excluded"].items()} == {
                "no_free_slot": 1,
                "service_not_installed": 1,
            }
            await session.speak(1)
            await session.fence()
            await node.complete(first)
            second = await node.job(1)
            past = (await said(scheduler, "--job", second["job_id"]))["decisions"]
            assert [one["outcome"] for one in past] == ["queued", "served"]
            assert past[0]["excluded"] == {"no_free_slot": 1, "service_not_installed": 1}
            await node.complete(second)
            await session.result(1)

    asyncio.run(follow())


def test_a_paired_job_and_a_killed_dispatcher(run_scheduler: RunScheduler) -> None:
    scheduler = run_scheduler(PATIENT)

    async def follow() -> None:
        async with (
            a_node(scheduler.node_url, hold, name="mine", accept_public_jobs=False) as mine,
            a_node(scheduler.node_url, hold, name="other"),
        ):
            told = await said(scheduler, "--node", "mine")
            assert told["chosen"]["node_id"] == mine.node_id
            assert (await said(scheduler))["chosen"]["name"] == "other"
            code = await mine.pairing_code()
            async with a_session(scheduler.session_url, pairing_code=code) as session:
                await session.speak(0)
                job = await mine.job(0)
                (dispatcher,) = scheduler.children("dispatch")
                os.kill(dispatcher.pid, signal.SIGKILL)
                await until(
                    lambda: (
                        dispatcher.pid not in {c.pid for c in scheduler.children("dispatch")}
                        and scheduler.children("dispatch")
                    ),
                    "another dispatcher runs",
                )
                # What the one before decided is still known, but not for which class.
                (past,) = (await said(scheduler, "--job", job["job_id"]))["decisions"]
                assert past["paired"]["node_id"] == past["node"]["node_id"] == mine.node_id
                assert past["services"] is None
                await mine.complete(job)
                await session.result(0)

    asyncio.run(follow())


def test_it_prints_text_that_a_pipe_can_take(run_scheduler: RunScheduler) -> None:
    scheduler = run_scheduler()
    for options in ((), ("--recent", "5")):
        result = run(scheduler.runtime_dir, *options)
        assert (result.returncode, result.stderr) == (0, "")
        assert "\x1b" not in result.stdout
        assert result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--node", "nix"), "there is no node nix: none is registered"),
        (("--job", "job-otherrun-1"), "is of another run of the scheduler"),
    ],
    ids=["node", "job"],
)
def test_what_is_not_known_is_said_on_one_line(
    run_scheduler: RunScheduler, options: tuple[str, ...], says: str
) -> None:
    result = run(run_scheduler().runtime_dir, *options)
    assert (result.returncode, result.stdout) == (1, "")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--recent", "1"), ("--job", "job-1a2b3c4d-1")])
def test_where_nothing_runs_it_ends_with_a_reason(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = run(tmp_path, *options)
    assert (result.returncode, result.stdout) == (69, "")
    assert "is the scheduler running?" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# --- in this process, over memory that stands still ------------------------------------------


def printed(capfd: pytest.CaptureFixture[str], folder: Path, nodes_max: int | None) -> Any:
    explain_ask(folder, Ask(), nodes_max, as_json=True)
    return json.loads(capfd.readouterr().out)


def test_how_many_nodes_are_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    total = NODES_SHOWN + 3
    with make_site(tmp_path, nodes=total) as site:
        for number in range(total):
            site.desk.node(f"n{number}")
        site.beat()
        listed = [len(printed(capfd, tmp_path, most)["nodes"]) for most in (None, 0, 5)]
        assert listed == [total, total, 5]
        explain_ask(tmp_path, Ask(), None, as_json=False)
        assert "… and 3 more; --top 0 shows all" in capfd.readouterr().out
        explain_ask(tmp_path, Ask(), 0, as_json=False)
        assert "more;" not in capfd.readouterr().out


def test_what_does_not_settle_is_said_in_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        site.beat()
        assert printed(capfd, tmp_path, None)["unsettled"] == 0
        site.desk.tables.scores[0, slot_of(node)] = INFINITE  # and no dispatcher sees to it
        told = printed(capfd, tmp_path, None)
        assert told["unsettled"] == 1
        assert told["notes"] == ["1 node changed while this was read; look again"]
