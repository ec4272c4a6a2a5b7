"""What is kept when a process dies, and what can be had while all of them are stuck."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduler.memory.layout import DISPATCHER_ROW
from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, until


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one) for one in archive}
        return {name: file.read() for name, file in files.items() if file is not None}


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def kept(cluster: Cluster) -> list[Path]:
    """Return the bundles that the supervisor says were kept."""
    log = cluster.scheduler.log_records()
    return [Path(record["path"]) for record in log if record["event"] == "bundle kept"]


async def test_the_last_events_of_a_killed_dispatcher_are_kept(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url) as node,
        a_session(own_cluster.session_url) as session,
    ):
        for index in range(3):
            await session.speak(index)
            await session.result(index)
        pid = own_cluster.pid(DISPATCHER_ROW)
        killed_at = now()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: kept(own_cluster), "the bundle")
        await until(own_cluster.is_ready, "/ready answers 200 again")
        await session.speak(3)
        await session.result(3)  # nobody waited for it
    (path,) = kept(own_cluster)
    assert [*(own_cluster.scheduler.runtime_dir / "crashes").glob("*-dispatcher.tar.gz")] == [path]
    found = members(path)
    manifest = json.loads(found["manifest.json"])
    assert manifest["why"] == f"dispatcher (pid {pid}) ended: SIGKILL"
    assert manifest["left_out"] == {}
    before = [e for e in lines(found["flight/dispatcher.jsonl"]) if e["time"] < killed_at]
    texts = [event["text"] for event in before]
    assert texts[0] == "dispatcher 0"
    assert f"{node.node_id} registering to ready" in texts
    decisions = [one for one in lines(found["decisions.jsonl"]) if one["time"] < killed_at]
    assert [one["node"] for one in decisions] == [node.node_id] * 3
    assert f"child=dispatcher child_pid={pid} status=SIGKILL" in found["summary.txt"].decode()


@pytest.mark.parametrize("own_cluster", [{"bundles_max": 0}], indirect=True)
async def test_none_is_kept_on_demand(own_cluster: Cluster) -> None:
    pid = own_cluster.pid(DISPATCHER_ROW)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: own_cluster.pid(DISPATCHER_ROW) not in {0, pid}, "another dispatcher")
    # It would have been started by now: right after the next dispatcher.
    await until(own_cluster.is_ready, "/ready answers 200 again")
    assert not own_cluster.scheduler.children("bundle")
    assert not (own_cluster.scheduler.runtime_dir / "crashes").exists()


async def test_a_bundle_can_be_had_while_all_processes_are_stopped(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    scheduler = own_cluster.scheduler
    supervisor = psutil.Process(scheduler.process.pid)
    stopped = [supervisor, *supervisor.children()]
    output = tmp_path / "bundle.tar.gz"
    options = ["--runtime-dir", str(scheduler.runtime_dir), "--output", str(output)]
    for process in stopped:  # the supervisor first: it would replace the others
        process.suspend()
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "scheduler", "bundle", *options],
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        for process in reversed(stopped):
            process.resume()
    assert (done.returncode, done.stderr) == (0, b"")
    processes = json.loads(members(output)["processes.json"])
    assert {one["kernel"]["State"] for one in processes.values()} == {"T (stopped)"}
    await until(own_cluster.is_ready, "/ready answers 200 again")
