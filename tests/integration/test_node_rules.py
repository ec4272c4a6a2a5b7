"""Each rule of the protocol's "Nodes", against real processes."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    ASR,
    CORE_SERVICES,
    NMT,
    TTS,
    FakeNode,
    Message,
    a_node,
    a_session,
    answer,
    encoded,
    failing,
    hold,
    installed,
    raw_node,
    registration,
    until,
)

SETTINGS = {
    "scheduler.require_gpu": True,
    "scheduler.node_health.heartbeat_interval_seconds": 1,
    "scheduler.node_health.heartbeat_timeout_seconds": 3,
    "scheduler.node_health.health_check_count": 2,
    "scheduler.node_health.window_size": 5,
    "scheduler.node_health.failure_count": 3,
    "scheduler.node_health.consecutive_failure_count": 2,
    "scheduler.max_concurrent_jobs_per_node": 2,
    "scheduler.job_timeout.pending_timeout_seconds": 20,
    "scheduler.load_balancer.gpu_limit": 60,
    "scheduler.feature_services.emotion_detection": ["emotion"],
}

BEATS = 2
"""health_check_count: heartbeats that make a node ready."""

ALL_READY = dict.fromkeys(CORE_SERVICES, "ready")


async def stays(node: FakeNode) -> None:
    """Check that the status has not changed by anything the node sent so far."""
    await node.fence()
    assert not [m for m in node.unread if m["type"] == "node_status"], node.unread


# --- joining -------------------------------------------------------------------------------


async def test_a_node_without_an_id_is_given_one(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        ack = await node.register()
        assert ack["node_id"].startswith("node-")
        assert ack["status"] == "registering"
        assert isinstance(ack["message"], str)


async def test_a_node_keeps_the_id_it_names(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        assert (await node.register(node_id="node-OWN"))["node_id"] == "node-OWN"


@pytest.mark.parametrize("gpus", [None, []], ids=["null", "empty"])
async def test_a_node_without_gpu_is_refused_where_one_is_required(
    cluster: Cluster, gpus: list[Message] | None
) -> None:
    hardware = {"cpu_cores": 4, "memory_gb": 16, "gpus": gpus}
    async with raw_node(cluster.node_url) as node:
        await node.send("node_register", **registration(hardware=hardware))
        await node.expect("error", code="NO_GPU_AVAILABLE")
        await node.register()  # it may try again


@pytest.mark.parametrize("version", ["2.0", "", "1"])
async def test_another_capability_schema_is_refused(cluster: Cluster, version: str) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send("node_register", **registration(capability_schema_version=version))
        await node.expect("error", code="INVALID_CAPABILITY_SCHEMA")


async def test_no_capability_schema_version_is_the_known_one(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(capability_schema_version=None)


async def test_before_node_register_every_other_message_is_refused(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.heartbeat()
        await node.expect("error", code="INVALID_MESSAGE")
        await node.send("request_pairing_code")
        await node.expect("error", code="INVALID_MESSAGE")
        await node.register()


async def test_a_second_node_register_is_refused(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, beats=BEATS) as node:
        await node.send("node_register", **registration(node_id="node-OTHER"))
        await node.expect("error", code="INVALID_MESSAGE")
        await stays(node)


async def test_another_nodes_id_in_a_message_is_refused(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        await node.send(
            "node_heartbeat",
            node_id="node-OTHER",
            timestamp=1,
            resource_usage={"cpu_percent": 1, "mem_percent": 1, "running_jobs": 0},
        )
        await node.expect("error", code="INVALID_MESSAGE")


async def test_binary_messages_of_nodes_are_refused(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        await node.send_raw(b"\0")
        await node.expect("error", code="INVALID_MESSAGE")
        await node.become_ready(BEATS)


async def test_the_id_of_a_live_node_is_a_conflict(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, beats=BEATS, node_id="node-TWIN") as node,
        raw_node(cluster.node_url) as twin,
    ):
        await twin.send("node_register", **registration(node_id="node-TWIN"))
        await twin.expect("error", code="NODE_ID_CONFLICT")
        await stays(node)
        await twin.register(node_id="node-OTHER")


async def test_a_node_that_comes_back_takes_its_place_again(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, beats=BEATS, node_id="node-BACK"):
        ref = cluster.nodes()["node-BACK"].ref
    await until(lambda: cluster.nodes()["node-BACK"].status == Status.OFFLINE, "offline")
    async with a_node(cluster.node_url, beats=BEATS, node_id="node-BACK") as node:
        assert cluster.nodes()["node-BACK"].ref == ref
        async with a_session(cluster.session_url) as session:
            await session.speak()
            await session.result()
        assert len(node.assigned) == 1


# --- life cycle ----------------------------------------------------------------------------


async def test_registering_becomes_ready_after_health_check_count_healthy_heartbeats(
    cluster: Cluster,
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        await node.heartbeat()
        await stays(node)
        await node.heartbeat()
        status = await node.status("ready")
        assert status["node_id"] == node.node_id
        assert 1_600_000_000 < status["timestamp"] < 100_000_000_000  # seconds


async def test_an_unhealthy_heartbeat_begins_the_count_anew(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        await node.heartbeat()
        await node.heartbeat({"cpu_percent": 101})
        await node.heartbeat()
        await stays(node)
        await node.heartbeat()
        await node.status("ready")


@pytest.mark.parametrize(
    "usage",
    [
        {"cpu_percent": 100.1},
        {"cpu_percent": -0.1},
        {"mem_percent": 101},
        {"mem_percent": -1},
        {"gpu_percent": 150},
        {"gpu_mem_percent": -5},
    ],
    ids=str,
)
async def test_usage_outside_0_to_100_is_not_healthy(cluster: Cluster, usage: Message) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        for _ in range(BEATS):
            await node.heartbeat(usage)
        await stays(node)
        await node.become_ready(BEATS)


@pytest.mark.parametrize("percent", [0, 100])
async def test_usage_at_the_bounds_is_healthy(cluster: Cluster, percent: int) -> None:
    names = ("cpu_percent", "gpu_percent", "gpu_mem_percent", "mem_percent")
    async with raw_node(cluster.node_url) as node:
        await node.register()
        for _ in range(BEATS):
            await node.heartbeat(dict.fromkeys(names, percent))
        await node.status("ready")


async def test_a_missing_gpu_percent_counts_as_0(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        await node.register()
        for _ in range(BEATS):
            await node.send(
                "node_heartbeat",
                node_id=node.node_id,
                timestamp=1,
                resource_usage={"cpu_percent": 1, "mem_percent": 1, "running_jobs": 0},
            )
        await node.status("ready")
        await session.speak()
        await session.result()


@pytest.mark.parametrize("state", ["downloading", "not_installed", "error"])
async def test_while_registering_every_installed_service_must_be_ready(
    cluster: Cluster, state: str
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(capability_state={**ALL_READY, NMT: state})
        for _ in range(BEATS):
            await node.heartbeat()
        await stays(node)
        await node.heartbeat(capability_state=ALL_READY)
        await node.heartbeat()
        await node.status("ready")


async def test_later_one_ready_service_keeps_a_node_ready(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, beats=BEATS) as node:
        for _ in range(3):
            await node.heartbeat(capability_state={ASR: "ready", NMT: "error"})
        await stays(node)
        for _ in range(2):
            await node.heartbeat(capability_state={ASR: "error"})
        await node.status("degraded")


async def test_a_node_without_any_service_is_not_healthy(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(())
        for _ in range(BEATS):
            await node.heartbeat()
        await stays(node)
        await node.heartbeat(installed_services=installed(*CORE_SERVICES))
        await node.heartbeat()
        await node.status("ready")


async def test_a_service_that_the_state_leaves_out_is_not_ready(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register(capability_state={ASR: "ready", NMT: "ready"})
        for _ in range(BEATS):
            await node.heartbeat()
        await stays(node)


async def test_only_ready_nodes_get_jobs(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        await node.register()
        await session.speak()
        await session.fence()
        await node.heartbeat()
        await node.fence()
        assert not node.assigned
        await until(lambda: cluster.dispatcher("queued") == 1, "the job waits")
        await node.heartbeat()
        await node.status("ready")
        await session.result()


async def test_ready_becomes_degraded_after_unhealthy_heartbeats_in_a_row(
    cluster: Cluster,
) -> None:
    async with a_node(cluster.node_url, beats=BEATS) as node:
        await node.heartbeat({"cpu_percent": 300})
        await stays(node)
        await node.heartbeat({"cpu_percent": 300})
        assert (await node.status("degraded"))["reason"]


async def test_ready_becomes_degraded_after_failure_count_of_the_window(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, beats=BEATS) as node:
        for cpu in (300, 1, 300, 1):
            await node.heartbeat({"cpu_percent": cpu})
        await stays(node)
        await node.heartbeat({"cpu_percent": 300})
        await node.status("degraded")


async def test_degraded_is_back_on_the_first_healthy_heartbeat(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        for _ in range(2):
            await node.heartbeat({"cpu_percent": 300})
        await node.status("degraded")
        await session.speak()
        await session.fence()
        await node.fence()
        assert not node.assigned  # degraded nodes get no jobs
        await node.heartbeat()
        await node.status("ready")
        await session.result()


async def test_a_degraded_node_may_finish_what_it_has(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        for _ in range(2):
            await node.heartbeat({"cpu_percent": 300})
        await node.status("degraded")
        await node.complete(job)
        await session.result()


async def test_a_closed_socket_takes_the_node_offline(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, beats=BEATS) as node:
        node_id = node.node_id
        assert cluster.nodes()[node_id].status == Status.READY
    await until(lambda: cluster.nodes()[node_id].status == Status.OFFLINE, "offline")


async def test_a_node_without_heartbeats_is_offline_and_its_jobs_fail_over(
    cluster: Cluster,
) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS, node_id="node-SILENT") as silent,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await silent.job()
        async with a_node(cluster.node_url, answer, beats=BEATS) as spare:
            while not spare.assigned:
                await spare.heartbeat()
                await asyncio.sleep(0.1)
            assert spare.assigned[0]["attempt_id"] == 2
            await session.result()
        assert (await silent.status("offline"))["reason"]
        await silent.closed()
    async with a_node(cluster.node_url, beats=BEATS, node_id="node-SILENT"):
        pass  # an offline id is free


async def test_a_node_that_knows_its_id_need_not_wait_for_the_ack(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        node.node_id = "node-EAGER"
        await node.send("node_register", **registration(node_id=node.node_id))
        for _ in range(BEATS):
            await node.heartbeat()
        await node.status("ready")
        assert node.unread[0]["type"] == "node_register_ack"


# --- what counts as a result ---------------------------------------------------------------


async def test_a_result_counts_only_from_the_node_that_holds_the_job(cluster: Cluster) -> None:
    spoofed = cluster.total("results_spoofed_total")
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        async with a_node(cluster.node_url, hold, beats=BEATS) as other:
            await other.complete(job, text_translated="forged")
            await other.fail(job, "NMT_TIMEOUT")
            await other.fence()
        assert cluster.total("results_spoofed_total") == spoofed + 2
        assert cluster.nodes()[node.node_id].in_flight == 1
        await node.complete(job, text_translated="true")
        assert (await session.result())["text_translated"] == "true"


@pytest.mark.parametrize("attempt", [0, 2, 1 << 40])
async def test_a_result_counts_only_from_the_attempt_that_holds_the_job(
    cluster: Cluster, attempt: int
) -> None:
    stale = cluster.total("results_stale_total")
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        await node.complete(job, attempt_id=attempt, text_translated="of another attempt")
        await node.fence()
        assert cluster.total("results_stale_total") == stale + 1
        assert cluster.nodes()[node.node_id].in_flight == 1
        await node.complete(job, text_translated="of this attempt")
        assert (await session.result())["text_translated"] == "of this attempt"


async def test_a_second_result_frees_and_delivers_nothing_twice(cluster: Cluster) -> None:
    stale = cluster.total("results_stale_total")
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await session.speak(1)
        first, second = await node.job(0), await node.job(1)
        for _ in range(3):
            await node.complete(first)
        await session.result(0)
        await node.fence()
        assert cluster.total("results_stale_total") == stale + 2
        assert cluster.nodes()[node.node_id].in_flight == 1
        await node.complete(second)
        await session.result(1)
        assert not [m for m in session.unread if m["type"] == "translation_result"]


@pytest.mark.parametrize("job_id", ["", "job-1", "job-00000000-1", "nonsense", "job-" + "F" * 99])
async def test_a_result_for_a_job_that_nobody_knows_is_dropped(
    cluster: Cluster, job_id: str
) -> None:
    spoofed = cluster.total("results_spoofed_total")
    async with a_node(cluster.node_url, hold, beats=BEATS) as node:
        job = {"job_id": job_id, "attempt_id": 1, "session_id": "s"}
        await node.complete({**job, "utterance_index": 0, "trace_id": "t"})
        await node.fence()
        assert cluster.total("results_spoofed_total") == spoofed + 1


async def test_partial_text_counts_only_from_the_node_that_holds_the_job(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        async with a_node(cluster.node_url, hold, beats=BEATS) as other:
            await other.partial(job, "forged")
            await other.fence()
        await node.partial(job, "true")
        assert (await session.expect("asr_partial"))["text"] == "true"


async def test_a_result_with_audio_that_is_no_string_fails_the_job(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await node.complete(await node.job(), tts_audio=[1, 2])
        await node.expect("error", code="INVALID_MESSAGE")
        await session.event("ERROR")


# --- which node ----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", CORE_SERVICES)
async def test_all_required_services_must_be_installed(cluster: Cluster, missing: str) -> None:
    some = tuple(name for name in CORE_SERVICES if name != missing)
    async with (
        a_node(cluster.node_url, answer, some, beats=BEATS) as lacking,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await session.fence()
        async with a_node(cluster.node_url, beats=BEATS) as whole:
            await session.result()
            assert len(whole.assigned) == 1
        assert not lacking.assigned


async def test_all_required_services_must_be_ready(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await node.heartbeat(capability_state={**ALL_READY, TTS: "downloading"})
        await node.fence()
        await session.speak()
        await session.fence()
        await node.fence()
        assert not node.assigned
        await node.heartbeat(capability_state=ALL_READY)
        await session.result()


async def test_services_that_a_heartbeat_adds_bring_jobs(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, answer, (ASR,), beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await session.fence()
        await node.fence()
        assert not node.assigned
        await node.heartbeat(installed_services=installed(*CORE_SERVICES))
        await session.result()


async def test_an_asked_feature_needs_its_service(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, beats=BEATS) as plain,
        a_node(cluster.node_url, answer, (*CORE_SERVICES, "emotion"), beats=BEATS) as able,
        a_session(cluster.session_url) as session,
    ):
        for index in range(3):
            await session.speak(index, features={"emotion_detection": True})
            await session.result(index)
        assert len(able.assigned) == 3
        assert not plain.assigned


async def test_a_model_not_available_mark_sends_jobs_elsewhere(cluster: Cluster) -> None:
    marked = cluster.dispatcher("models_marked_total")
    async with (
        a_node(
            cluster.node_url,
            failing("MODEL_NOT_AVAILABLE", details={"service_id": NMT}),
            beats=BEATS,
        ) as lacking,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await lacking.job(0)
        await session.expect("error", code="MODEL_NOT_AVAILABLE")
        assert cluster.dispatcher("models_marked_total") == marked + 1
        async with a_node(cluster.node_url, beats=BEATS) as able:
            for index in range(1, 4):
                await session.speak(index)
                await session.result(index)
            assert len(able.assigned) == 3
        assert len(lacking.assigned) == 1


async def test_a_mark_leaves_jobs_that_do_not_need_the_service(cluster: Cluster) -> None:
    asr_only = {"use_asr": True, "use_nmt": False, "use_tts": False}
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as everything,
        a_session(cluster.session_url, pipeline=asr_only) as some,
    ):
        await everything.speak(0)
        await node.fail(await node.job(), "MODEL_NOT_AVAILABLE", details={"service_id": NMT})
        await everything.event("ERROR")
        await some.speak(1)
        await node.complete(await node.job(1))
        await some.result(1)


async def test_a_node_over_a_limit_gets_no_jobs(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, beats=BEATS) as hot,
        a_session(cluster.session_url) as session,
    ):
        await hot.heartbeat({"gpu_percent": 61})
        # A job before the limit is seen would be legal: look until the dispatcher has seen it.
        async with a_node(cluster.node_url, beats=BEATS) as cool:
            await asyncio.sleep(0.3)
            for index in range(4):
                await session.speak(index)
                await session.result(index)
            assert len(cool.assigned) == 4
        await session.speak(4)
        await session.fence()
        await hot.fence()
        assert not hot.assigned
        await hot.heartbeat({"gpu_percent": 60})
        await session.result(4)
        assert len(hot.assigned) == 1


async def test_a_node_gets_no_more_jobs_than_it_names(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS, max_concurrent_jobs=3) as node,
        a_session(cluster.session_url) as session,
    ):
        for index in range(5):
            await session.speak(index)
        jobs = [await node.job(index) for index in range(3)]
        await session.fence()
        await node.fence()
        assert len(node.assigned) == 3
        await node.complete(jobs[1])
        fourth = await node.job(3)  # the longest waiting one gets the slot
        await node.fence()
        assert len(node.assigned) == 4
        node.behaviour = answer
        for job in (jobs[0], jobs[2], fourth):
            await node.complete(job)
        for index in range(5):
            await session.result(index)


async def test_a_node_that_names_no_number_gets_the_configured_one(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        for index in range(3):
            await session.speak(index)
        await node.job(0)
        await node.job(1)
        await session.fence()
        await node.fence()
        assert len(node.assigned) == 2


async def test_a_nodes_own_other_work_takes_slots(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        await node.register()
        for _ in range(BEATS):
            await node.heartbeat({"running_jobs": 2})
        await node.status("ready")
        await asyncio.sleep(0.3)  # the dispatcher looks at the figures ten times a second
        await session.speak()
        await session.fence()
        await node.fence()
        assert not node.assigned
        await node.heartbeat({"running_jobs": 1})
        await session.result()


async def test_jobs_go_to_the_node_with_the_fewest(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                a_node(cluster.node_url, hold, beats=BEATS, max_concurrent_jobs=10)
            )
            for _ in range(3)
        ]
        session = await stack.enter_async_context(a_session(cluster.session_url))
        for index in range(9):
            await session.speak(index)
            await session.event("DISPATCHED", index)
        await until(lambda: sum(len(n.assigned) for n in nodes) == 9, "all are assigned")
        assert [len(n.assigned) for n in nodes] == [3, 3, 3]


# --- the rest ------------------------------------------------------------------------------


async def test_a_node_error_is_counted_and_changes_nothing(cluster: Cluster) -> None:
    before = cluster.total("node_errors_total")
    async with a_node(cluster.node_url, beats=BEATS) as node:
        await node.send(
            "node_error", node_id=node.node_id, code="X", message="disk full", details=None
        )
        await stays(node)
        assert cluster.total("node_errors_total") == before + 1


async def test_audio_reaches_the_node_and_comes_back_as_it_was(cluster: Cluster) -> None:
    audio = bytes(range(256)) * 100
    async with (
        a_node(cluster.node_url, hold, beats=BEATS) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(audio=audio)
        job = await node.job()
        assert job["audio"] == encoded(audio)
        await node.complete(job, tts_audio=encoded(audio[::-1]))
        assert (await session.result())["tts_audio"] == encoded(audio[::-1])
