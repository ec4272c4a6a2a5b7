"""SIGHUP reaches every process: a gateway begins to tell of its jobs."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.harness import RunningScheduler, poll
from tests.integration.peers import a_node, a_session, until

QUIET = '[observability]\nlog_format = "json"\n'
_ERRORS = 'levels = { "scheduler.dispatch" = "error", "scheduler.stats" = "error" }\n'
LOUD = QUIET + 'levels = { "scheduler.gateway" = "debug" }\n'


def test_jobs_are_logged_by_what_the_file_says_now(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(QUIET)
    scheduler = RunningScheduler(tmp_path, config=settings)

    def lines() -> list[dict[str, Any]]:
        return [line for line in scheduler.log_records() if line["event"] == "job ended"]

    async def change(text: str) -> None:
        before = scheduler.log().count("log settings changed")
        settings.write_text(text)
        scheduler.process.send_signal(signal.SIGHUP)
        await until(
            lambda: scheduler.log().count("log settings changed") > before, "the supervisor's word"
        )

    async def talk() -> None:
        async with (
            a_node(scheduler.node_url) as node,
            a_session(scheduler.session_url, trace_id="trace-7") as session,
        ):
            await session.speak(0)
            await session.result(0)
            assert lines() == []

            await change(LOUD)
            index = 0
            while not lines():  # the gateway may read its control socket after its next message
                index += 1
                await session.speak(index)
                await session.result(index)
            line = lines()[0]
            assert (line["level"], line["process"]) == ("debug", "gateway 0")
            assert (line["session_id"], line["node_id"]) == (session.session_id, node.node_id)
            assert (line["trace_id"], line["outcome"]) == ("trace-7", "completed")
            loud = [one for one in scheduler.log_records() if one["level"] == "debug"]
            assert {one["process"] for one in loud} == {"gateway 0"}

    try:
        scheduler.wait_ready()
        asyncio.run(asyncio.wait_for(talk(), 60))
        scheduler.stop()
    finally:
        scheduler.kill()


def test_every_process_follows(tmp_path: Path) -> None:
    """A snapshot that can't be written and a gateway that dies are said, until told otherwise."""
    settings = tmp_path / "settings.toml"
    settings.write_text(QUIET)
    folder = tmp_path / "snapshots"
    folder.mkdir()
    scheduler = RunningScheduler(
        tmp_path,
        {"stats.refresh_seconds": 0.2, "stats.snapshot_path": str(folder / "snapshot.json")},
        config=settings,
    )

    def said(event: str) -> list[dict[str, Any]]:
        return [line for line in scheduler.log_records() if line["event"] == event]

    def lose_a_gateway() -> None:
        ended = len(said("child ended"))
        (gateway,) = scheduler.children("gateway")
        gateway.kill()
        poll("its end", lambda: len(said("child ended")) > ended)
        poll("its successor", lambda: _status(f"{scheduler.ops_url}/ready") == HTTPStatus.OK)

    def writes_failed() -> int:
        url = f"{scheduler.ops_url}/api/v1/stats"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
            counters = json.load(answer)["scheduler"]["counters"]["stats"]
        return int(counters["snapshot_writes_failed_total"])

    try:
        scheduler.wait_ready()
        lose_a_gateway()
        poll("the dispatcher's word", lambda: said("gateway is gone"))

        settings.write_text(QUIET + _ERRORS)
        scheduler.process.send_signal(signal.SIGHUP)
        poll("the supervisor's word", lambda: said("log settings changed"))
        folder.rename(tmp_path / "moved")
        folder.write_bytes(b"")
        poll("a write that failed", lambda: writes_failed() > 1)
        lose_a_gateway()
        assert len(said("gateway is gone")) == 1
        assert said("snapshot not saved") == []
        scheduler.stop()
    finally:
        scheduler.kill()


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
