"""A job whose attempt came to nothing runs again elsewhere, and its session sees nothing of it."""

import pytest

from tests.integration.cluster import Cluster
from tests.integration.peers import (
    FakeNode,
    FakeSession,
    a_node,
    a_session,
    answer,
    failing,
    hold,
    raw_node,
    until,
)

ATTEMPTS_MAX = 3

SETTINGS = {
    "scheduler.job_timeout_seconds": 1,
    "scheduler.job_timeout.failover_max_attempts": ATTEMPTS_MAX,
    "scheduler.job_timeout.pending_timeout_seconds": 2,
    "scheduler.node_health.warmup_timeout_seconds": 0.5,
    "scheduler.node_health.forget_after_seconds": 0.5,
    "scheduler.model_not_available.unavailable_ttl_seconds": 0.5,
    "scheduler.model_not_available.debounce_window_seconds": 0.1,
}

SPEAKS_OF_THE_NODE = [
    "MODEL_NOT_AVAILABLE",
    "NODE_OVERLOADED",
    "NODE_UNAVAILABLE",
    "MODEL_LOAD_FAILED",
    "MODEL_CORRUPTED",
    "MODEL_VERIFY_FAILED",
]


async def result_after_one_dispatch(session: FakeSession, index: int = 0) -> None:
    """Wait for the result and check that failing over was not shown."""
    await session.result(index)
    events = [m["event"] for m in session.take_unread() if m["utterance_index"] == index]
    assert events == ["DISPATCHED", "ASR_FINAL", "NMT_DONE"]


async def close(node: FakeNode) -> None:
    await node.close()


async def abort(node: FakeNode) -> None:
    await node.abort()


@pytest.mark.parametrize("leave", [close, abort])
async def test_the_jobs_of_a_node_whose_socket_closes_fail_over_at_once(
    cluster: Cluster, leave: object
) -> None:
    assert callable(leave)
    failovers = cluster.dispatcher("failovers_total")
    timeouts = cluster.dispatcher("attempts_timed_out_total")
    async with (
        a_node(cluster.node_url, hold) as lost,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await lost.job()
        async with a_node(cluster.node_url, hold) as spare:
            await leave(lost)
            again = await spare.job()
            assert again == {**job, "attempt_id": 2}
            await spare.complete(again)
            await result_after_one_dispatch(session)
    assert cluster.dispatcher("failovers_total") == failovers + 1
    assert cluster.dispatcher("attempts_timed_out_total") == timeouts


async def test_a_job_waits_for_a_node_where_there_is_no_other(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold) as lost:
            await session.speak()
            await lost.job()
        await until(lambda: cluster.dispatcher("queued") == 1, "the job waits")
        async with a_node(cluster.node_url) as spare:
            await result_after_one_dispatch(session)
            assert spare.assigned[0]["attempt_id"] == 2


async def test_a_lost_job_may_run_on_the_same_node_when_it_is_back(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold, node_id="node-BACK") as node:
            await session.speak()
            await node.job()
        async with a_node(cluster.node_url, answer, node_id="node-BACK") as node:
            await result_after_one_dispatch(session)
            assert node.assigned[0]["attempt_id"] == 2


async def test_a_lost_job_that_nobody_takes_ends_with_the_reason_of_its_loss(
    cluster: Cluster,
) -> None:
    async with a_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold) as lost:
            await session.speak()
            await lost.job()
        await session.expect("error", code="NODE_UNAVAILABLE")
        await session.event("ERROR")


async def test_an_attempt_over_its_time_is_cancelled_and_runs_elsewhere(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as slow,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await slow.job()
        async with a_node(cluster.node_url) as spare:
            cancel = await slow.expect("job_cancel", job_id=job["job_id"])
            assert cancel["reason"] == "timeout"
            await result_after_one_dispatch(session)
            assert [j["attempt_id"] for j in spare.assigned] == [2]
        assert cluster.nodes()[slow.node_id].in_flight == 0


async def test_a_late_result_of_an_earlier_attempt_counts_no_more(cluster: Cluster) -> None:
    def stale() -> int:
        # The node's gateway knows that the attempt is over, or learns it from the dispatcher.
        return cluster.total("results_stale_total") + cluster.dispatcher("stale_results_total")

    before = stale()
    async with (
        a_node(cluster.node_url, hold) as slow,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await slow.job()
        async with a_node(cluster.node_url, hold) as spare:
            again = await spare.job()
            await slow.complete(job, text_translated="late")
            await until(lambda: stale() == before + 1, "it is counted as stale")
            assert cluster.nodes()[spare.node_id].in_flight == 1
            await spare.complete(again, text_translated="second attempt")
            assert (await session.result())["text_translated"] == "second attempt"


async def test_a_job_that_times_out_everywhere_ends_with_job_timeout(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as one,
        a_node(cluster.node_url, hold) as two,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        assert (await session.event("ERROR"))["error_code"] == "JOB_TIMEOUT"
        await session.expect("error", code="JOB_TIMEOUT")
        attempts = [job["attempt_id"] for job in (*one.assigned, *two.assigned)]
        assert sorted(attempts) == [1, 2]  # each once: none of them is asked again
        await one.expect("job_cancel")
        await two.expect("job_cancel")


@pytest.mark.parametrize("code", SPEAKS_OF_THE_NODE)
async def test_a_failure_that_speaks_of_the_node_runs_elsewhere(
    cluster: Cluster, code: str
) -> None:
    async with (
        a_node(cluster.node_url, failing(code)) as bad,
        a_node(cluster.node_url) as good,
        a_session(cluster.session_url) as session,
    ):
        for index in range(4):
            await session.speak(index)
            await result_after_one_dispatch(session, index)
        attempts = {job["utterance_index"]: job["attempt_id"] for job in good.assigned}
        assert len(attempts) == 4
        failed = {job["utterance_index"] for job in bad.assigned}
        assert failed  # idle nodes take turns
        assert all(attempts[index] == (2 if index in failed else 1) for index in range(4))


@pytest.mark.parametrize("code", ["NMT_TIMEOUT", "TTS_TIMEOUT", "INTERNAL_ERROR", "OWN_CODE"])
async def test_a_failure_that_speaks_of_the_job_is_final(cluster: Cluster, code: str) -> None:
    async with (
        a_node(cluster.node_url, failing(code)) as one,
        a_node(cluster.node_url, failing(code)) as two,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await session.expect("error", code=code)
        assert len(one.assigned) + len(two.assigned) == 1


async def test_a_job_does_not_return_to_the_node_that_failed_it(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, failing("NODE_OVERLOADED", message="full up")) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        error = await session.expect("error", code="NODE_OVERLOADED")
        assert error["message"] == "full up"
        await session.event("DISPATCHED")
        assert len(node.assigned) == 1


async def test_a_job_gets_failover_max_attempts_in_all(cluster: Cluster) -> None:
    bad = failing("NODE_OVERLOADED")
    async with (
        a_node(cluster.node_url, bad) as one,
        a_node(cluster.node_url, bad) as two,
        a_node(cluster.node_url, bad) as three,
        a_node(cluster.node_url, bad) as four,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await session.expect("error", code="NODE_OVERLOADED")
        nodes = (one, two, three, four)
        attempts = sorted(job["attempt_id"] for node in nodes for job in node.assigned)
        assert attempts == list(range(1, ATTEMPTS_MAX + 1))


async def test_a_job_that_failed_over_goes_before_those_that_never_ran(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold, max_concurrent_jobs=1) as lost:
            await session.speak(0)
            await lost.job(0)
            await session.speak(1)
            await session.fence()
            await lost.fence()
        await until(lambda: cluster.dispatcher("queued") == 2, "both wait")
        async with a_node(cluster.node_url, max_concurrent_jobs=1) as spare:
            await session.result(1)
            assert [job["utterance_index"] for job in spare.assigned] == [0, 1]


async def test_a_mark_is_lifted_after_its_time(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, failing("MODEL_NOT_AVAILABLE")) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await session.event("ERROR", 0)
        node.behaviour = answer
        await session.speak(1)  # waits for the mark to be lifted
        await session.result(1)


async def test_a_node_that_does_not_get_ready_in_time_is_degraded(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.register()
        assert (await node.status("degraded"))["reason"]
        await node.heartbeat()
        await node.status("ready")


async def test_an_offline_nodes_row_is_freed(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, node_id="node-FORGOTTEN") as node:
        ref = cluster.nodes()["node-FORGOTTEN"].ref
        await node.fence()
    await until(lambda: "node-FORGOTTEN" not in cluster.nodes(), "its row is free")
    async with a_node(cluster.node_url, node_id="node-FORGOTTEN"):
        assert cluster.nodes()["node-FORGOTTEN"].ref != ref


async def test_a_node_that_is_back_goes_on_with_the_job_it_kept(cluster: Cluster) -> None:
    failovers = cluster.dispatcher("failovers_total")
    reclaimed = cluster.dispatcher("reclaimed_total")
    async with a_session(cluster.session_url) as session:
        async with a_node(cluster.node_url, hold, node_id="keeps-its-jobs") as node:
            await session.speak()
            job = await node.job()
            await node.abort()
        kept = [{"job_id": job["job_id"], "attempt_id": job["attempt_id"]}]
        async with a_node(
            cluster.node_url, hold, node_id="keeps-its-jobs", running_jobs=kept
        ) as back:
            await until(lambda: cluster.nodes()["keeps-its-jobs"].in_flight == 1, "it has its slot")
            await back.complete(job)
            await result_after_one_dispatch(session)
            assert back.assigned == []
    assert cluster.dispatcher("failovers_total") == failovers
    assert cluster.dispatcher("reclaimed_total") == reclaimed + 1


async def test_a_node_that_fails_job_after_job_is_left_alone(cluster: Cluster) -> None:
    """Its jobs go to the other one; it stays connected and ready all the while."""
    async with (
        a_node(cluster.node_url, failing("INTERNAL_ERROR"), node_id="bad") as bad,
        a_node(cluster.node_url, answer, node_id="good"),
        a_session(cluster.session_url) as session,
    ):
        index = 0
        while cluster.dispatcher("ejected_nodes") == 0:
            await session.speak(index)
            await session.fence()
            index += 1
            await until(lambda: cluster.total("jobs_live") == 0, "the job has ended")
        failed = len(bad.assigned)
        for later in range(index, index + 6):
            await session.speak(later)
            await session.result(later)
        assert len(bad.assigned) == failed
        assert cluster.nodes()["bad"].status.wire == "ready"
