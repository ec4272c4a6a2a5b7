"""SIGHUP reaches every process: a gateway begins to tell of its jobs."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from tests.harness import RunningScheduler
from tests.integration.peers import a_node, a_session, until

QUIET = '[observability]\nlog_format = "json"\n'
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
