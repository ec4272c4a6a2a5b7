"""Sessions lose their sockets and come back, at either gateway: nothing is lost, nothing twice."""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW
from tests.integration.cluster import Cluster
from tests.integration.peers import (
    Message,
    a_session,
    answer,
    echo,
    encoded,
    hold,
    until,
)
from tests.integration.placed import node_at
from tests.integration.returning import Returning, a_client, a_socket
from tests.integration.talk import kill_and_wait
from tests.integration.test_rolling import roll_all

PAUSE_MS = 300

SETTINGS = {
    "scheduler.job_timeout_seconds": 10,
    "scheduler.web_task_segmentation.pause_ms": PAUSE_MS,
    "limits.messages_per_second_max": 100_000,
}

PLACES = pytest.mark.parametrize("place", [0, 1], ids=["same gateway", "other gateway"])
"""Where the new socket lands; the session is at gateway 0."""


async def lose(cluster: Cluster, client: Returning) -> None:
    """Cut the socket, and return when the session waits."""
    waiting = cluster.total("sessions_suspended")
    await client.abort()
    await until(lambda: cluster.total("sessions_suspended") > waiting, "it is suspended")


async def cut(cluster: Cluster, client: Returning) -> None:
    """Cut the socket, and return when that was seen."""
    connections = cluster.total("connections")
    await client.abort()
    await until(lambda: cluster.total("connections") < connections, "its end was seen")


def cancels(unread: list[Message]) -> list[Message]:
    return [message for message in unread if message["type"] == "job_cancel"]


# --- nothing lost, nothing twice -----------------------------------------------------------


@PLACES
async def test_results_go_on_in_order_after_a_cut(cluster: Cluster, place: int) -> None:
    resumed = cluster.per_gateway("sessions_resumed_total")[0]
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        for index in range(4):
            await client.speak(index)
        jobs = [await node.job(index) for index in range(4)]
        await node.complete(jobs[0])
        await client.result(0)
        await lose(cluster, client)
        await node.complete(jobs[2])
        await node.fail(jobs[1], "MY_CODE")
        await node.fence()
        async with a_socket(cluster, place) as again:
            ack = await again.resume_from(client)
            assert ack["resume_token"] != client.token
            assert (ack["received_seq"], ack["received_bytes"], ack["cut_seq"]) == (None, 0, None)
            assert (ack["next_utterance_index"], ack["resume_seconds"]) == (0, 30.0)
            assert cluster.total("sessions_suspended") == 0
            assert cluster.per_gateway("sessions_resumed_total")[0] == resumed + 1
            await node.complete(jobs[3])
            await again.result(3)
            assert again.replies == [0, 1, 2, 3]
            await again.speak(4)
            await node.complete(await node.job(4))
            await again.result(4)
            assert not cancels(node.unread)


@PLACES
async def test_replies_come_with_their_events_and_progress_does_not(
    cluster: Cluster, place: int
) -> None:
    async with node_at(cluster, 0, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        await client.speak(1)
        first, second = await node.job(0), await node.job(1)
        await client.event("DISPATCHED", 1)
        await lose(cluster, client)
        await node.partial(first, "hel")
        await node.complete(first)
        await node.fail(second, "MY_CODE", "no such voice")
        await node.fence()
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)
            await again.fence()
            assert [(m["type"], m.get("event")) for m in again.take_unread()] == [
                ("ui_event", "ASR_FINAL"),
                ("ui_event", "NMT_DONE"),
                ("translation_result", None),
                ("ui_event", "ERROR"),
                ("error", None),
            ]


@PLACES
async def test_replies_that_were_written_to_a_dying_socket_come_again(
    cluster: Cluster, place: int
) -> None:
    async with node_at(cluster, 1, answer), a_client(cluster) as client:
        for index in range(3):
            await client.speak(index)
            await client.result(index)
        await lose(cluster, client)
        client.replies = [0]  # as if the others had not arrived
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)
            await again.fence()
            assert again.replies == [0, 1, 2]


@PLACES
async def test_a_streamed_utterance_goes_on_and_nothing_of_it_counts_twice(
    cluster: Cluster, place: int
) -> None:
    async with node_at(cluster, 1, answer) as node, a_client(cluster) as client:
        await client.chunk(b"before", seq=0, final=True)
        await client.result(0)
        for seq in range(1, 4):
            await client.chunk(bytes([seq]) * 10, seq=seq)
        await client.fence()
        await lose(cluster, client)
        async with a_socket(cluster, place) as again:
            ack = await again.resume_from(client)
            assert (ack["received_seq"], ack["received_bytes"], ack["cut_seq"]) == (3, 30, 0)
            assert ack["next_utterance_index"] == 1
            for seq in (2, 3, 4):
                await again.chunk(bytes([seq]) * 10, seq=seq)
            await again.chunk(bytes([9]) * 10, seq=3)  # no longer directly after resuming
            await again.chunk(None, seq=5, final=True)
            await again.result(1)
            spoken = b"".join(bytes([n]) * 10 for n in (1, 2, 3, 4, 9))
            assert [job["audio"] for job in node.assigned] == [encoded(b"before"), encoded(spoken)]


async def test_the_pause_does_not_run_meanwhile_and_runs_anew_afterwards(cluster: Cluster) -> None:
    cut = cluster.total("utterances_cut_by_pause_total")
    async with node_at(cluster, 0, answer) as node, a_client(cluster) as client:
        await client.chunk(b"one", seq=0)
        await client.fence()
        await lose(cluster, client)
        await asyncio.sleep(3 * PAUSE_MS / 1000)
        assert cluster.total("utterances_cut_by_pause_total") == cut
        async with a_socket(cluster, 0) as again:
            ack = await again.resume_from(client)
            assert (ack["received_seq"], ack["received_bytes"]) == (0, 3)
            await again.chunk(b"two", seq=1)
            await again.result(0)
            assert [job["audio"] for job in node.assigned] == [encoded(b"onetwo")]
            assert cluster.total("utterances_cut_by_pause_total") == cut + 1


async def test_an_utterance_sent_again_makes_no_second_job(cluster: Cluster) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        await client.speak(1, request_id="mine")
        jobs = [await node.job(0), await node.job(1)]
        await lose(cluster, client)
        await node.complete(jobs[0])
        await node.fence()
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            await again.speak(0)
            await again.speak(1, request_id="mine")
            await again.fence()
            await node.complete(jobs[1])
            await again.result(1)
            await again.fence()
            assert again.replies == [0, 1]
            assert len(node.assigned) == 2


# --- which socket has the session ----------------------------------------------------------


@PLACES
async def test_a_session_is_taken_over_from_a_socket_that_looks_open(
    cluster: Cluster, place: int
) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await client.event("DISPATCHED")
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)
            assert await client.closed() == 1000
            await node.complete(job)
            await again.result(0)
            assert not client.unread
            assert not cancels(node.unread)
            async with a_socket(cluster, 1 - place) as third:
                await third.resume_from(again)
                await again.closed()
                await third.speak(1)
                await node.complete(await node.job(1))
                await third.result(1)
                assert third.replies == [0, 1]


async def test_the_token_before_is_good_until_the_client_has_the_next(cluster: Cluster) -> None:
    async with a_client(cluster) as client:
        async with a_socket(cluster, 1) as unlucky:
            await unlucky.ask(client)
            await until(lambda: client.is_closed, "the session has left")
            await unlucky.abort()  # with the answer on its way
        async with a_socket(cluster, 0) as again:
            await again.resume_from(client)
            await again.fence()
            async with a_socket(cluster, 0) as late:
                assert (await late.refused(client))["code"] == "INVALID_SESSION"
            await again.fence()


@PLACES
async def test_session_close_ends_a_resumed_session_and_its_jobs(
    cluster: Cluster, place: int
) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await lose(cluster, client)
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)
            await again.send("session_close", session_id=again.session_id, reason="done")
            await again.expect("session_close_ack")
            assert await again.closed() == 1000
            await node.expect("job_cancel", job_id=job["job_id"])
        async with a_socket(cluster, place) as late:
            assert (await late.refused(again))["code"] == "INVALID_SESSION"


async def test_a_breach_of_the_protocol_ends_the_session(cluster: Cluster) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await client.send_raw(b"\xff", text=True)
        assert await client.closed() == 1007
        await node.expect("job_cancel", job_id=job["job_id"])
        assert cluster.total("sessions_suspended") == 0


async def test_a_client_that_only_closes_its_socket_may_come_back(cluster: Cluster) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await client.close()
        async with a_socket(cluster, 0) as again:
            await again.resume_from(client)
            await node.complete(job)
            await again.result(0)


async def test_a_session_that_did_not_ask_for_it_ends_with_its_socket(cluster: Cluster) -> None:
    async with node_at(cluster, 1, hold) as node, a_session(cluster.session_url) as session:
        await session.speak(0)
        job = await node.job(0)
        await session.abort()
        await node.expect("job_cancel", job_id=job["job_id"])
        assert cluster.total("sessions_suspended") == 0


# --- through another gateway ---------------------------------------------------------------


async def test_megabytes_pass_a_relay_both_ways(cluster: Cluster) -> None:
    rng = random.Random(7)
    async with node_at(cluster, 0, echo), a_client(cluster) as client:
        await lose(cluster, client)
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            spoken = [rng.randbytes(size) for size in (1, 3_000_000, 70_000, 2_000_000, 125)]
            for index, audio in enumerate(spoken):
                await again.speak(index, audio)
            for index, audio in enumerate(spoken):
                assert (await again.result(index))["tts_audio"] == encoded(audio)


async def test_a_relayed_client_that_stops_reading_holds_little_and_loses_nothing(
    cluster: Cluster,
) -> None:
    audio = random.Random(8).randbytes(500_000)
    async with node_at(cluster, 0, echo), a_client(cluster) as client:
        await lose(cluster, client)
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            again.pause()
            for index in range(20):
                await again.speak(index, audio)
            await until(lambda: cluster.total("jobs_live") == 0, "all ended, or wait to be read")
            again.resume()
            for index in range(20):
                assert (await again.result(index))["tts_audio"] == encoded(audio)


async def test_a_relay_ends_with_either_side(cluster: Cluster) -> None:
    sockets = cluster.total("connections")
    async with a_client(cluster) as client:
        await lose(cluster, client)
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            await lose(cluster, again)
        await until(lambda: cluster.total("connections") == sockets, "nothing is left of it")
        async with a_socket(cluster, 1) as third:
            await third.resume_from(again)
            async with a_socket(cluster, 0) as direct:
                await direct.resume_from(third)
                assert await third.closed() == 1000


async def test_what_comes_with_session_resume_is_not_lost_on_the_way(cluster: Cluster) -> None:
    """A client ought to wait for the answer; one that doesn't is understood all the same."""
    async with node_at(cluster, 0, answer), a_client(cluster) as client:
        await lose(cluster, client)
        async with a_socket(cluster, 1) as again:
            await again.ask(client)
            await again.speak(0)
            await again.expect("session_init_ack", resumed=True)
            await again.result(0)


# --- refusals ------------------------------------------------------------------------------


@PLACES
async def test_whatever_is_wrong_gets_the_same_answer(cluster: Cluster, place: int) -> None:
    refused = cluster.total("sessions_resume_refused_total")
    async with node_at(cluster, 1, answer), a_client(cluster) as client:
        await client.speak(0)
        await client.result(0)
        await lose(cluster, client)
        prefix = client.token.rpartition(".")[0]
        wrong: list[dict[str, Any]] = [
            {"resume_token": f"{prefix}.{'x' * 43}"},
            {"resume_token": client.token[:-1]},
            {"resume_token": client.token.upper()},
            {"resume_token": f"0.99.{'x' * 43}"},
            {"session_id": "sess-0123456789ABCDEF"},
            {"replies_received": 2},
        ]
        answers = []
        for fields in wrong:
            async with a_socket(cluster, place) as guess:
                answers.append(await guess.refused(client, **fields))
        assert {error["code"] for error in answers} == {"INVALID_SESSION"}
        assert len({error["message"] for error in answers}) == 1
        assert cluster.total("sessions_resume_refused_total") == refused + len(wrong)
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)  # which no guess has harmed


@pytest.mark.parametrize("own_cluster", [{"identity.wrong_per_address_max": 3}], indirect=True)
async def test_guesses_are_limited_per_address_wherever_they_land(own_cluster: Cluster) -> None:
    async with a_client(own_cluster) as client:
        for place in (0, 1, 1):
            async with a_socket(own_cluster, place) as guess:
                error = await guess.refused(client, session_id="sess-0")
                assert error["code"] == "INVALID_SESSION"
        async with a_socket(own_cluster, 1) as guess:
            error = await guess.refused(client)
            assert error["code"] == "RATE_LIMITED"
            assert 0 < error["details"]["retry_after_ms"] <= 60_000
        await client.fence()


@pytest.mark.parametrize("own_cluster", [{"limits.resume_seconds": 0.5}], indirect=True)
async def test_after_the_window_it_ends_as_a_closed_session(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await client.abort()
        await node.expect("job_cancel", job_id=job["job_id"])
        await until(lambda: cluster.total("sessions") == 0, "its row is free")
        assert cluster.total("sessions_suspended") == 0
        for place in (0, 1):
            async with a_socket(cluster, place) as late:
                assert (await late.refused(client))["code"] == "INVALID_SESSION"
    cluster.check_settled()


@pytest.mark.parametrize("own_cluster", [{"limits.resume_seconds": 0}], indirect=True)
async def test_it_may_be_turned_off(own_cluster: Cluster) -> None:
    async with node_at(own_cluster, 1, hold) as node, a_socket(own_cluster, 0) as client:
        assert "resume_token" not in await client.init()
        await client.speak(0)
        job = await node.job(0)
        await client.abort()
        await node.expect("job_cancel", job_id=job["job_id"])
    own_cluster.check_settled()


@pytest.mark.parametrize("own_cluster", [{"limits.suspended_sessions_max": 2}], indirect=True)
async def test_of_too_many_that_wait_the_oldest_ends(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(a_client(cluster)) for _ in range(3)]
        for client in clients:
            await cut(cluster, client)
        async with a_socket(cluster, 0) as late:
            assert (await late.refused(clients[0]))["code"] == "INVALID_SESSION"
        assert cluster.total("sessions_suspended") == 2
        for client in clients[1:]:
            again = await stack.enter_async_context(a_socket(cluster, 0))
            await again.resume_from(client)
    cluster.check_settled()


@pytest.mark.parametrize("own_cluster", [{"limits.suspended_bytes_max": 100_000}], indirect=True)
async def test_one_for_which_too_much_waits_ends(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with node_at(cluster, 0, hold) as node, a_client(cluster) as client:
        for index in range(4):
            await client.speak(index)
        jobs = [await node.job(index) for index in range(4)]
        await lose(cluster, client)
        for job in jobs[:2]:
            await node.complete(job, tts_audio=encoded(bytes(36_000)))
        await node.fence()
        assert cluster.total("sessions_suspended") == 1
        await node.complete(jobs[2], tts_audio=encoded(bytes(36_000)))
        await node.expect("job_cancel", job_id=jobs[3]["job_id"])
        async with a_socket(cluster, 0) as late:
            assert (await late.refused(client))["code"] == "INVALID_SESSION"
    cluster.check_settled()


@pytest.mark.parametrize("own_cluster", [{"limits.suspended_bytes_max": 100_000}], indirect=True)
async def test_replies_that_surely_arrived_are_not_kept(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with node_at(cluster, 0, echo), a_client(cluster) as client:
        for index in range(4):
            await client.speak(index, bytes(36_000))
            await client.result(index)
        await lose(cluster, client)
        async with a_socket(cluster, 0) as late:
            error = await late.refused(client, replies_received=1)
            assert error["code"] == "INVALID_SESSION"
        client.replies = client.replies[:2]
        async with a_socket(cluster, 0) as again:
            await again.resume_from(client)
            await again.result(3)
            assert again.replies == [0, 1, 2, 3]
    cluster.check_settled()


# --- processes that die --------------------------------------------------------------------


@PLACES
async def test_a_dispatcher_killed_meanwhile_loses_nothing(cluster: Cluster, place: int) -> None:
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        for index in range(3):
            await client.speak(index)
        jobs = [await node.job(index) for index in range(3)]
        await lose(cluster, client)
        await node.complete(jobs[0])
        await node.fence()
        pid = cluster.pid(DISPATCHER_ROW)
        os.kill(pid, signal.SIGKILL)
        await node.complete(jobs[1])
        await until(lambda: cluster.pid(DISPATCHER_ROW) not in {0, pid}, "a new one")
        async with a_socket(cluster, place) as again:
            await again.resume_from(client)
            await again.result(1)
            await node.complete(jobs[2])
            await again.result(2)
            assert again.replies == [0, 1, 2]
            assert [job["attempt_id"] for job in node.assigned] == [1, 1, 1]
        await until(cluster.is_ready, "/ready answers 200 again")


@PLACES
async def test_sessions_die_with_their_gateway(cluster: Cluster, place: int) -> None:
    async with a_client(cluster) as client:
        await lose(cluster, client)
        await kill_and_wait(cluster, FIRST_GATEWAY_ROW)
        assert cluster.total("sessions_suspended") == 0
        async with a_socket(cluster, place) as late:
            assert (await late.refused(client))["code"] == "INVALID_SESSION"


async def test_a_relaying_gateway_that_dies_costs_a_socket_and_no_session(
    own_cluster: Cluster,
) -> None:
    cluster = own_cluster
    async with node_at(cluster, 0, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await lose(cluster, client)
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            await kill_and_wait(cluster, FIRST_GATEWAY_ROW + 1)
            await again.closed()
            async with a_socket(cluster, 1) as third:
                await third.resume_from(again)
                await node.complete(job)
                await third.result(0)


# --- gateways that are replaced ------------------------------------------------------------


async def test_sessions_end_with_their_gateway_when_that_is_replaced(own_cluster: Cluster) -> None:
    cluster = own_cluster
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        await lose(cluster, client)
        async with a_client(cluster) as attached:
            rolling = asyncio.create_task(roll_all(cluster))
            await node.expect("job_cancel", job_id=job["job_id"])
            assert (await attached.expect("error"))["code"] == "SERVER_SHUTDOWN"
            assert await attached.closed() == 1012
            assert await rolling == [0, 1]
        for before in (client, attached):
            async with a_socket(cluster, 0) as late:
                assert (await late.refused(before))["code"] == "INVALID_SESSION"
    cluster.check_settled(besides={"arena_used_bytes"})


async def test_a_gateway_that_is_to_be_replaced_still_gives_its_sessions_other_sockets(
    own_cluster: Cluster,
) -> None:
    """One whose socket looks open, while its last job is finished."""
    cluster = own_cluster
    async with node_at(cluster, 1, hold) as node, a_client(cluster) as client:
        await client.speak(0)
        job = await node.job(0)
        async with a_client(cluster) as idle, a_client(cluster) as ended:
            await ended.end()
            rolling = asyncio.create_task(roll_all(cluster))
            assert await idle.closed() == 1012
            async with a_socket(cluster, 1) as late:
                assert (await late.refused(ended))["code"] == "INVALID_SESSION"
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            assert await client.closed() == 1000
            await node.complete(job)
            await again.result(0)
            assert await again.closed() == 1012
        assert await rolling == [0, 1]


@pytest.mark.parametrize("own_cluster", [{"gateways": 3}], indirect=True)
async def test_a_relaying_gateway_that_is_replaced_costs_a_socket_and_no_session(
    own_cluster: Cluster,
) -> None:
    """Gateways are replaced in order: the session's is the last."""
    cluster = own_cluster
    async with node_at(cluster, 2, hold) as node, a_client(cluster, 2) as client:
        await client.speak(0)
        job = await node.job(0)
        await lose(cluster, client)
        async with a_socket(cluster, 0) as again:
            await again.resume_from(client)
            rolling = asyncio.create_task(roll_all(cluster))
            await again.closed()
            async with a_socket(cluster, 2) as third:
                await third.resume_from(again)
                await node.complete(job)
                await third.result(0)
                assert await third.closed() == 1012
            assert await rolling == [0, 1, 2]
