"""What operators see and do over HTTP, with every process real."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from contextlib import closing
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from scheduler.memory.layout import DISPATCHER_ROW, STATS_ROW
from scheduler.protocol.status import Status
from tests.harness import RunScheduler
from tests.integration.cluster import Cluster
from tests.integration.peers import CORE_SERVICES, a_node, a_session, failing, raw_node, until
from tests.stats.hub import Hub, answer, cut_mid_body, endless, listing, silent, trickle

ADMIN_TOKEN = "open sesame"  # noqa: S105
SETTINGS = {
    "server.admin_token": ADMIN_TOKEN,
    "scheduler.job_timeout.pending_timeout_seconds": 0.3,
    "scheduler.job_timeout.failover_max_attempts": 1,
}


async def get(cluster: Cluster, path: str) -> Any:
    """Return the JSON of a 200."""
    url = f"{cluster.scheduler.ops_url}{path}"
    status, body = await asyncio.to_thread(cluster.get, url)
    assert status == 200, body
    return json.loads(body)


async def post(cluster: Cluster, path: str, token: str = ADMIN_TOKEN, **body: str) -> int:
    """Return the status of a command."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{cluster.scheduler.ops_url}/api/v1/nodes/{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
        method="POST",
    )

    def send() -> int:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - ours
                status: int = response.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return await asyncio.to_thread(send)


async def metrics(cluster: Cluster) -> dict[tuple[str, ...], float]:
    """Return all samples by name and the values of their labels, by the labels' names."""
    url = f"{cluster.scheduler.ops_url}/metrics"
    _, text = await asyncio.to_thread(cluster.get, url)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def total(samples: dict[tuple[str, ...], float], name: str) -> float:
    return sum(value for key, value in samples.items() if key[0] == name)


async def test_a_node_is_drained_and_resumed(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url) as node,
        a_session(cluster.session_url) as session,
    ):
        assert await post(cluster, f"{node.node_id}/drain", token="wrong") == 401  # noqa: S106
        assert await post(cluster, "nobody/drain") == 404
        assert await post(cluster, f"{node.node_id}/resume") == 409
        assert await post(cluster, f"{node.node_id}/drain", reason="new disk") == 202
        assert (await node.status("draining"))["reason"] == "new disk"
        control = await node.expect("node_control", command="drain")
        assert control["reason"] == "new disk"
        assert await post(cluster, f"{node.node_id}/drain") == 409
        await session.speak(0)
        await session.expect("error", code="NO_AVAILABLE_NODE")

        assert await post(cluster, f"{node.node_id}/resume") == 202
        await node.expect("node_control", command="resume")
        await node.become_ready()
        await session.speak(1)
        await session.result(1)
        shown = await get(cluster, "/api/v1/history")
        texts = [event["text"] for event in shown["events"]]
        assert f"drain {node.node_id}: new disk" in texts


async def test_a_drained_node_stays_so_when_it_reconnects(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node:
        assert await post(cluster, f"{node.node_id}/drain") == 202
        await node.status("draining")
        node_id = node.node_id
        await node.abort()
    await until(lambda: cluster.nodes()[node_id].status == Status.OFFLINE, "the node is offline")
    async with raw_node(cluster.node_url) as node:
        await node.register(node_id=node_id)
        await node.status("draining")
        await node.expect("node_control", command="drain")
        assert await post(cluster, f"{node_id}/resume") == 202
        await node.expect("node_control", command="resume")
        await node.become_ready()


async def test_commands_reach_the_next_dispatcher_and_from_the_next_stats(
    own_cluster: Cluster,
) -> None:
    cluster = own_cluster

    async def kill(row: int) -> None:
        pid = cluster.pid(row)
        psutil.Process(pid).send_signal(signal.SIGKILL)
        await until(lambda: cluster.pid(row) not in {0, pid} and cluster.serves(row), "replaced")

    async def command(path: str) -> None:
        async def accepted() -> bool:
            try:
                return await post(cluster, path) == 202
            except OSError:  # the port is not served just now
                return False

        while not await accepted():
            await asyncio.sleep(0.02)

    async with a_node(cluster.node_url) as node:
        await kill(DISPATCHER_ROW)
        await command(f"{node.node_id}/drain")
        await node.status("draining")
        await kill(STATS_ROW)
        await command(f"{node.node_id}/resume")
        await node.status("registering")
    await until(
        lambda: cluster.nodes()[node.node_id].status == Status.OFFLINE, "the node is offline"
    )


async def test_metrics_follow_the_jobs(cluster: Cluster) -> None:
    before = await metrics(cluster)
    async with (
        a_node(cluster.node_url) as node,
        a_session(cluster.session_url) as session,
    ):
        for index in range(3):
            await session.speak(index)
            await session.result(index)
        node.behaviour = failing("NMT_TIMEOUT")
        await session.speak(3)
        await session.expect("error", code="NMT_TIMEOUT")
        node.behaviour = failing("MODEL_NOT_AVAILABLE", details={"service_id": CORE_SERVICES[0]})
        await session.speak(4)
        await session.expect("error", code="MODEL_NOT_AVAILABLE")
        await session.speak(5)
        await session.expect("error", code="NO_AVAILABLE_NODE")
        refusals = await get(cluster, "/api/v1/refusals")
        assert node.node_id in refusals["samples"]["model_not_available"]
        assert refusals["failed_by_code"]["NMT_TIMEOUT"] >= 1
        shown = await get(cluster, f"/api/v1/nodes/{node.node_id}")
        assert shown["services_installed"] == sorted(CORE_SERVICES)
    after = await metrics(cluster)

    def grown(name: str) -> float:
        return total(after, name) - total(before, name)

    assert grown("scheduler_gateway_jobs_accepted_total") == 6
    assert grown("scheduler_gateway_jobs_completed_total") == 3
    assert grown("scheduler_end_to_end_latency_seconds_count") == 3
    assert grown("scheduler_jobs_failed_by_code_total") == 3
    assert grown("scheduler_model_not_available_missing_total") == 1
    assert grown("scheduler_model_not_available_marked_total") == 1
    key = ("scheduler_excluded_total", "model_not_available")
    assert after[key] - before.get(key, 0) == 1
    assert after["scheduler_process_up", "0", "gateway"] == 1
    assert after["scheduler_process_resident_memory_bytes", "0", "dispatcher"] > 1 << 20


async def test_snapshots_are_pushed(cluster: Cluster) -> None:
    host, _, port = cluster.scheduler.endpoints.operations.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        async with a_session(cluster.session_url):
            sequences: list[int] = []
            users = 0
            while len(sequences) < 2 or not users:
                line = await reader.readline()
                assert line
                if line.startswith(b"data: "):
                    snapshot = json.loads(line.removeprefix(b"data: "))
                    sequences.append(snapshot["snapshot"]["sequence"])
                    users = snapshot["web_clients"]["active_users"]
            assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    finally:
        writer.close()
        await writer.wait_closed()


async def test_history_grows(cluster: Cluster) -> None:
    async with a_node(cluster.node_url), a_session(cluster.session_url) as session:
        await session.speak(0)
        await session.result(0)

        async def rates() -> list[float]:
            found: list[float] = (await get(cluster, "/api/v1/history"))["jobs_per_s"]
            return found

        while not any(await rates()):
            await asyncio.sleep(0.05)


async def test_a_broken_hub_changes_nothing_for_jobs(run_scheduler: RunScheduler) -> None:
    hub = Hub()
    hub.write = listing("asr", "tts")
    port = await hub.start()
    settings = {
        "model_hub.base_url": f"http://127.0.0.1:{port}",
        "model_hub.refresh_seconds": 0.02,
        "model_hub.timeout_seconds": 0.2,
        "stats.refresh_seconds": 0.05,
    }
    with closing(Cluster(await asyncio.to_thread(run_scheduler, settings))) as cluster:

        async def catalogue_is(good: bool) -> None:
            while True:
                stats = await get(cluster, "/api/v1/stats")
                services = [entry["service_id"] for entry in stats["nodes"]["available_services"]]
                state = stats["scheduler"]["catalogue"]
                if state["source"] == "hub":
                    assert services == ["asr", "tts"]
                    if (state["fail_count"] == 0) == good:
                        return
                await asyncio.sleep(0.01)

        async with (
            a_node(cluster.node_url),
            a_session(cluster.session_url) as session,
        ):
            await catalogue_is(good=True)
            bad = (silent, trickle, cut_mid_body, endless, answer(b"<html>"), answer(b"{}"))
            for index, write in enumerate(bad):
                hub.write = write
                await catalogue_is(good=False)
                await session.speak(index)
                await session.result(index)
                hub.write = listing("asr", "tts")
                await catalogue_is(good=True)
            await hub.stop()
            await catalogue_is(good=False)
            await session.speak(len(bad))
            await session.result(len(bad))
