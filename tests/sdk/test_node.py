import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from scheduler.protocol.node import NodeControl, NodeStatus
from scheduler.sdk.backoff import Backoff
from scheduler.sdk.errors import ConnectionLost, JobFailed, Refused
from scheduler.sdk.jobs import Job, JobOutcome
from scheduler.sdk.node import NodeClient
from scheduler.sdk.usage import Usage
from tests.sdk.scripted_peer import Link, Peer, listening_peer, run_async, until


async def echo(job: Job) -> JobOutcome:
    return JobOutcome(text_asr=job.assign.audio.hex(), tts_audio=job.assign.audio)


class Gate:
    """A handler that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> JobOutcome:
        self.started += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return JobOutcome(text_asr=f"{job.assign.job_id} done")


def new_node(peer: Peer, handler: Any = echo, **options: Any) -> NodeClient:
    options.setdefault("services", ["node-inference"])
    options.setdefault("backoff", Backoff(0.01, 0.01))
    options.setdefault("usage", lambda: Usage(12.5, 40.0))
    return NodeClient(peer.url, handler=handler, **options)


@asynccontextmanager
async def running(node: NodeClient) -> AsyncGenerator[None]:
    task = asyncio.create_task(node.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def node_and_link(
    handler: Any = echo, **options: Any
) -> AsyncGenerator[tuple[NodeClient, Link]]:
    async with listening_peer() as peer:
        node = new_node(peer, handler, **options)
        async with running(node):
            link = await peer.accept()
            await link.welcome_node()
            yield node, link


@run_async
async def test_registering_and_beating_follow_the_protocol() -> None:
    async with listening_peer() as peer:
        node = new_node(peer, capacity=3, name="speech", capability_state={"tts": "downloading"})
        async with running(node):
            link = await peer.accept()
            register = await link.welcome_node("node-9")
            beat = await link.receive("node_heartbeat")
    assert register["node_id"] is None
    assert register["capability_schema_version"] == "1.0"
    assert register["max_concurrent_jobs"] == 3
    assert register["name"] == "speech"
    assert register["installed_models"] == []
    assert register["accept_public_jobs"] is True
    assert register["capability_state"] == {"tts": "downloading"}
    service = register["installed_services"][0]
    assert service["service_id"] == "node-inference"
    assert service["version"]
    assert service["platform"]
    assert isinstance(register["hardware"]["cpu_cores"], int)
    assert isinstance(register["hardware"]["memory_gb"], int)
    assert beat["node_id"] == node.node_id == "node-9"
    assert beat["resource_usage"] == {
        "cpu_percent": 12.5,
        "mem_percent": 40.0,
        "running_jobs": 0,
        "gpu_percent": None,
        "gpu_mem_percent": None,
    }
    assert beat["capability_state"] is None


@run_async
async def test_a_job_is_answered_with_its_ids_and_audio() -> None:
    async with node_and_link() as (_, link):
        await link.assign("job-5", 2, group_id="g", part_index=1, unknown=[1])
        result = await link.receive("job_result")
    assert (result["job_id"], result["attempt_id"], result["success"]) == ("job-5", 2, True)
    assert (result["node_id"], result["session_id"]) == ("node-1", "sess-1")
    assert (result["utterance_index"], result["trace_id"]) == (0, "t-1")
    assert (result["group_id"], result["part_index"]) == ("g", 1)
    assert (result["text_asr"], result["tts_audio"]) == ("000102", "AAEC")
    assert result["tts_format"] == "pcm16"
    assert result["error"] is None
    assert result["processing_time_ms"] >= 0


@run_async
async def test_partials_name_the_job_and_the_node() -> None:
    async def handler(job: Job) -> JobOutcome:
        await job.partial("he")
        await job.partial("hello", is_final=True)
        return JobOutcome("hello", extra={"emotion": "calm"})

    async with node_and_link(handler) as (_, link):
        await link.assign()
        partial = await link.receive("asr_partial")
        assert partial == {
            "type": "asr_partial",
            "job_id": "job-1",
            "node_id": "node-1",
            "session_id": "sess-1",
            "utterance_index": 0,
            "text": "he",
            "is_final": False,
            "trace_id": "t-1",
        }
        assert (await link.receive("asr_partial"))["is_final"] is True
        assert (await link.receive("job_result"))["extra"] == {"emotion": "calm"}


@run_async
async def test_failures_carry_the_handlers_code_or_a_general_one() -> None:
    async def handler(job: Job) -> JobOutcome:
        if job.assign.job_id == "job-bug":
            raise ZeroDivisionError
        raise JobFailed("MODEL_NOT_AVAILABLE", "no such pair", {"service_id": "nmt"})

    async with node_and_link(handler) as (_, link):
        await link.assign()
        failed = await link.receive("job_result")
        assert failed["success"] is False
        assert failed["error"] == {
            "code": "MODEL_NOT_AVAILABLE",
            "message": "no such pair",
            "details": {"service_id": "nmt"},
        }
        await link.assign("job-bug")
        failed = await link.receive("job_result")
        assert failed["error"]["code"] == "INTERNAL_ERROR"
        assert failed["error"]["message"] == "ZeroDivisionError in the node"


@run_async
async def test_jobs_over_capacity_are_refused_and_repeats_run_once() -> None:
    gate = Gate()
    async with node_and_link(gate, capacity=1) as (node, link):
        await link.assign("job-1")
        await link.assign("job-1")
        await link.assign("job-2")
        refused = await link.receive("job_result")
        assert (refused["job_id"], refused["error"]["code"]) == ("job-2", "NODE_OVERLOADED")
        assert node.running_jobs == gate.started == 1
        gate.open.set()
        assert (await link.receive("job_result"))["text_asr"] == "job-1 done"
        await until(lambda: node.running_jobs == 0)


@run_async
async def test_a_cancelled_job_sends_nothing_even_if_its_handler_returns() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def stubborn(job: Job) -> JobOutcome:
        if job.assign.job_id == "job-1":
            entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await leave.wait()
        return JobOutcome(text_asr=job.assign.job_id)

    async with node_and_link(stubborn, capacity=1) as (node, link):
        await link.assign("job-1")
        await entered.wait()
        await link.send(type="job_cancel", job_id="job-1")
        await until(lambda: node.running_jobs == 0)
        await link.assign("job-2")  # the scheduler has freed the slot; the handler has not
        await until(lambda: node.running_jobs == 1)
        leave.set()
        result = await link.receive("job_result")
        assert (result["job_id"], result["success"]) == ("job-2", True)


@run_async
async def test_cancelling_reaches_the_handler() -> None:
    gate = Gate()
    async with node_and_link(gate) as (_, link):
        await link.assign("job-1", 1)
        await until(lambda: gate.started == 1)
        await link.send(type="job_cancel", job_id="job-1", reason="session closed")
        await until(lambda: gate.cancelled == 1)


@run_async
async def test_a_result_made_while_cut_off_is_sent_after_coming_back_with_the_same_id() -> None:
    gate = Gate()
    async with listening_peer() as peer:
        node = new_node(peer, gate)
        async with running(node):
            link = await peer.accept()
            await link.welcome_node("node-1")
            await link.assign("job-1", 3)
            await until(lambda: gate.started == 1)
            link.abort()
            link = await peer.accept()
            gate.open.set()
            register = await link.welcome_node("node-1")
            assert register["node_id"] == "node-1"
            result = await link.receive("job_result")
            assert (result["job_id"], result["attempt_id"]) == ("job-1", 3)


@run_async
async def test_a_full_node_that_is_cut_off_behind_more_jobs_comes_back() -> None:
    gate = Gate()
    async with listening_peer() as peer, running(new_node(peer, gate, capacity=1)):
        link = await peer.accept()
        await link.welcome_node()
        await link.assign("job-1")
        await until(lambda: gate.started == 1)
        for number in range(2, 5):
            await link.assign(f"job-{number}")
        await link.close(1012, "service restart")
        link = await peer.accept()
        register = await link.welcome_node()
        assert register["running_jobs"] == [{"job_id": "job-1", "attempt_id": 1}]


@run_async
async def test_a_node_can_cut_its_own_connection_and_comes_back() -> None:
    async with listening_peer() as peer:
        node = new_node(peer)
        async with running(node):
            first = await peer.accept()
            await first.welcome_node()
            await first.receive("node_heartbeat")
            node.drop_connection()
            await first.closed()
            assert (await (await peer.accept()).welcome_node())["node_id"] == "node-1"


@run_async
async def test_connecting_is_tried_until_somebody_listens() -> None:
    async with listening_peer() as taken:
        port = int(taken.url.split(":")[2].split("/")[0])
    node = NodeClient(
        f"ws://127.0.0.1:{port}/ws", services=[], handler=echo, backoff=Backoff(0.01, 0.01)
    )
    async with running(node):
        await asyncio.sleep(0)
        async with listening_peer(port) as peer:
            await (await peer.accept()).welcome_node()
            await until(lambda: node.node_id == "node-1")


@pytest.mark.parametrize("code", ["UNAUTHORIZED", "NODE_ID_CONFLICT", "NO_GPU_AVAILABLE"])
def test_a_lasting_refusal_ends_the_node(code: str) -> None:
    async def main() -> None:
        async with listening_peer() as peer:
            running_node = asyncio.create_task(new_node(peer).run())
            link = await peer.accept()
            await link.receive("node_register")
            await link.send(type="error", code=code, message="no")
            with pytest.raises(Refused) as refusal:
                await running_node
            assert refusal.value.code == code

    asyncio.run(main())


@run_async
async def test_a_conflict_with_its_own_old_connection_passes() -> None:
    async with listening_peer() as peer, running(new_node(peer)):
        link = await peer.accept()
        await link.welcome_node()
        link.abort()
        link = await peer.accept()
        await link.receive("node_register")
        await link.send(type="error", code="NODE_ID_CONFLICT", message="still there")
        assert (await (await peer.accept()).welcome_node())["node_id"] == "node-1"


@run_async
async def test_a_busy_scheduler_is_tried_again() -> None:
    async with listening_peer() as peer, running(new_node(peer)):
        link = await peer.accept()
        await link.receive("node_register")
        await link.send(
            type="error", code="SERVER_BUSY", message="full", details={"retry_after_ms": 1}
        )
        await (await peer.accept()).welcome_node()


@run_async
async def test_status_and_commands_reach_the_callbacks() -> None:
    seen: list[NodeStatus | NodeControl] = []
    async with node_and_link(on_status=seen.append, on_control=seen.append) as (node, link):
        await link.send(
            type="node_status", node_id="node-1", status="ready", reason=None or "", timestamp=1
        )
        await until(lambda: node.status == "ready")
        await link.send(type="node_control", command="drain", reason="maintenance")
        await until(lambda: len(seen) == 2)
    assert isinstance(seen[0], NodeStatus)
    assert isinstance(seen[1], NodeControl)
    assert (seen[1].command, seen[1].reason) == ("drain", "maintenance")


@run_async
async def test_shutdown_finishes_what_runs_and_refuses_what_comes() -> None:
    gate = Gate()
    async with listening_peer() as peer:
        running_node = asyncio.create_task(new_node(peer, gate).run())
        link = await peer.accept()
        await link.welcome_node()
        await link.assign("job-1")
        await until(lambda: gate.started == 1)
        await link.send(type="node_control", command="shutdown")
        await link.assign("job-2")
        refused = await link.receive("job_result")
        assert (refused["job_id"], refused["error"]["code"]) == ("job-2", "NODE_UNAVAILABLE")
        gate.open.set()
        assert (await link.receive("job_result"))["job_id"] == "job-1"
        async with asyncio.timeout(10):
            await running_node


async def assign_until_lost(link: Link) -> None:
    with suppress(ConnectionClosed):
        for number in count():
            await link.assign(f"job-{number}")


async def read_until_lost(link: Link) -> None:
    with suppress(ConnectionClosed):
        while True:
            await link.raw()


@run_async
async def test_shutdown_ends_while_jobs_keep_coming() -> None:
    async with listening_peer() as peer:
        running_node = asyncio.create_task(new_node(peer).run())
        link = await peer.accept()
        await link.welcome_node()
        await link.send(type="node_control", command="shutdown")
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(assign_until_lost(link))
            tasks.create_task(read_until_lost(link))
            await running_node


@run_async
async def test_shutdown_cancels_what_takes_too_long() -> None:
    gate = Gate()
    async with listening_peer() as peer:
        node = new_node(peer, gate, shutdown_seconds=0.01)
        running_node = asyncio.create_task(node.run())
        link = await peer.accept()
        await link.welcome_node()
        await link.assign("job-1")
        await until(lambda: gate.started == 1)
        await node.stop()
        assert gate.cancelled == 1
        async with asyncio.timeout(10):
            await running_node


@run_async
async def test_a_pairing_code_is_asked_for_and_answered() -> None:
    async with node_and_link() as (node, link):
        await link.receive("node_heartbeat")
        asking = asyncio.create_task(node.request_pairing_code())
        await link.receive("request_pairing_code")
        await link.send(type="pairing_code", code="012345", expires_in_seconds=300)
        answer = await asking
        assert (answer.code, answer.expires_in_seconds) == ("012345", 300)
        asking = asyncio.create_task(node.request_pairing_code())
        await link.receive("request_pairing_code")
        await link.send(type="error", code="RATE_LIMITED", message="slower")
        with pytest.raises(Refused, match="RATE_LIMITED"):
            await asking


@run_async
async def test_asking_for_a_code_without_a_connection_fails_at_once() -> None:
    async with listening_peer() as peer:
        with pytest.raises(ConnectionLost, match="not connected"):
            await new_node(peer).request_pairing_code()


@run_async
async def test_changed_services_are_told_at_once_and_only_once() -> None:
    async with node_and_link(heartbeat_seconds=60) as (node, link):
        assert (await link.receive("node_heartbeat"))["installed_services"] is None
        node.update_services(["node-inference", "piper-tts"], {"node-inference": "ready"})
        beat = await link.receive("node_heartbeat")
        ids = [service["service_id"] for service in beat["installed_services"]]
        assert ids == ["node-inference", "piper-tts"]
        assert beat["capability_state"] == {"node-inference": "ready"}


@run_async
async def test_heartbeats_repeat_and_services_come_once() -> None:
    async with node_and_link(heartbeat_seconds=0.01) as (node, link):
        await link.receive("node_heartbeat")
        node.update_services(capability_state={"node-inference": "error"})
        states = [(await link.receive("node_heartbeat"))["capability_state"] for _ in range(5)]
        assert states.count({"node-inference": "error"}) == 1
        assert states.count(None) == 4


@run_async
async def test_a_node_error_is_reported() -> None:
    async with node_and_link() as (node, link):
        await link.receive("node_heartbeat")
        await node.report_error("MODEL_CORRUPTED", "bad checksum")
        sent = await link.receive("node_error")
        assert (sent["node_id"], sent["code"]) == ("node-1", "MODEL_CORRUPTED")
