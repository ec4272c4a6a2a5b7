"""An orderly end: nothing new is taken, what runs is finished, everybody is told."""

import signal

import pytest
from websockets.exceptions import InvalidHandshake

from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, hold, raw_session, until

SERVICE_RESTART = 1012

SETTINGS = {"drain_seconds": 20}


async def ended(cluster: Cluster) -> None:
    """Wait for the supervisor's end; `stop`, which then only looks at it, would signal again."""
    await until(lambda: cluster.scheduler.process.poll() is not None, "it has ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_signal_closes_everybody_with_1012_and_exits_0(
    own_cluster: Cluster, number: signal.Signals
) -> None:
    async with (
        a_node(own_cluster.node_url) as node,
        a_session(own_cluster.session_url) as session,
        raw_session(own_cluster.session_url) as silent,
    ):
        own_cluster.scheduler.process.send_signal(number)
        await session.expect("error", code="SERVER_SHUTDOWN")
        assert await session.closed() == SERVICE_RESTART
        assert await silent.closed() == SERVICE_RESTART
        assert await node.closed() == SERVICE_RESTART
    await ended(own_cluster)
    own_cluster.scheduler.stop()


async def test_jobs_in_flight_finish_and_new_ones_are_refused(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as node,
        a_session(own_cluster.session_url) as busy,
        a_session(own_cluster.session_url) as idle,
    ):
        for index in range(3):
            await busy.speak(index)
        jobs = [await node.job(index) for index in range(3)]
        own_cluster.scheduler.process.terminate()
        assert await idle.closed() == SERVICE_RESTART
        await until(lambda: not _accepts(own_cluster), "no connection is taken")
        with pytest.raises((OSError, InvalidHandshake)):
            async with raw_session(own_cluster.session_url, open_timeout=2):
                pass
        await busy.speak(3)
        await busy.expect("error", code="SERVER_SHUTDOWN")
        for job in reversed(jobs):
            await node.complete(job)
        for index in range(3):
            await busy.result(index)
        assert await busy.closed() == SERVICE_RESTART
        assert await node.closed() == SERVICE_RESTART
    await ended(own_cluster)
    own_cluster.scheduler.stop()


def _accepts(cluster: Cluster) -> bool:
    try:
        cluster.get(f"{cluster.scheduler.public_url}/health")
    except OSError:
        return False
    return True


async def test_a_node_that_is_asked_to_finish_may_still_fail_over(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as leaving,
        a_session(own_cluster.session_url) as session,
    ):
        await session.speak()
        await leaving.job()
        async with a_node(own_cluster.node_url):
            own_cluster.scheduler.process.terminate()
            await until(lambda: not _accepts(own_cluster), "it drains")
            await leaving.close()
            await session.result()
            assert await session.closed() == SERVICE_RESTART
    await ended(own_cluster)
    own_cluster.scheduler.stop()


async def test_a_second_signal_does_not_wait_for_jobs(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as node,
        a_session(own_cluster.session_url) as session,
    ):
        await session.speak()
        await node.job()
        own_cluster.scheduler.process.terminate()
        await until(lambda: not _accepts(own_cluster), "it drains")
        assert not session.is_closed
        own_cluster.scheduler.stop(signal.SIGTERM, exit_code=128 + signal.SIGTERM)
        await session.closed()
        await node.closed()
