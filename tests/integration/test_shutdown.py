"""An orderly end: nothing new is taken, what runs is finished, everybody is told."""

import signal

import pytest
from websockets.exceptions import InvalidHandshake

from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, hold, raw_node, raw_session, until

SERVICE_RESTART = 1012

SETTINGS = {"drain_seconds": 20}


async def ended(cluster: Cluster) -> None:
    """Wait for the supervisor's end; `stop`, which then only looks at it, would signal again."""
    await until(lambda: cluster.scheduler.process.poll() is not None, "it has ended")


async def test_sigterm_closes_everybody_with_1012_and_exits_0(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url) as node,
        a_session(own_cluster.session_url) as session,
        raw_session(own_cluster.session_url) as silent,
    ):
        own_cluster.scheduler.process.terminate()
        await session.expect("error", code="SERVER_SHUTDOWN")
        assert await session.closed() == SERVICE_RESTART
        assert await silent.closed() == SERVICE_RESTART
        assert await node.closed() == SERVICE_RESTART
    await ended(own_cluster)
    own_cluster.scheduler.stop()


async def test_jobs_in_flight_finish_and_new_ones_are_refused(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as leaving,
        a_session(own_cluster.session_url) as busy,
        a_session(own_cluster.session_url) as idle,
        raw_node(own_cluster.node_url, hold) as node,
    ):
        for index in range(3):
            await busy.speak(index)
            await leaving.job(index)
        await node.register()
        await node.become_ready()
        own_cluster.scheduler.process.terminate()
        assert await idle.closed() == SERVICE_RESTART
        await until(lambda: not _accepts(own_cluster), "no connection is taken")
        with pytest.raises((OSError, InvalidHandshake)):
            async with raw_session(own_cluster.session_url, open_timeout=2):
                pass
        await busy.speak(3)
        await busy.expect("error", code="SERVER_SHUTDOWN")
        await leaving.close()  # failing over still works
        for index in reversed(range(3)):
            await node.complete(await node.job(index))
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


async def test_a_second_signal_does_not_wait_for_jobs(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as node,
        a_session(own_cluster.session_url) as session,
    ):
        await session.speak()
        await node.job()
        own_cluster.scheduler.process.send_signal(signal.SIGINT)
        await until(lambda: not _accepts(own_cluster), "it drains")
        assert not session.is_closed
        own_cluster.scheduler.stop(signal.SIGINT, exit_code=128 + signal.SIGINT)
        await session.closed()
        await node.closed()


@pytest.mark.parametrize("own_cluster", [{"drain_seconds": 0.5}], indirect=True)
async def test_jobs_over_drain_seconds_are_not_waited_for(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as node,
        a_session(own_cluster.session_url) as session,
    ):
        await session.speak()
        await node.job()
        own_cluster.scheduler.process.terminate()
        await session.expect("error", code="SERVER_SHUTDOWN")
        assert await session.closed() == SERVICE_RESTART
        assert await node.closed() == SERVICE_RESTART
    await ended(own_cluster)
    own_cluster.scheduler.stop()


async def test_a_killed_supervisor_takes_everything_with_it(own_cluster: Cluster) -> None:
    async with a_node(own_cluster.node_url) as node, a_session(own_cluster.session_url) as session:
        own_cluster.scheduler.process.kill()
        # Killed by the kernel, or first to see that the control socket is closed.
        assert await session.closed() in {1006, 1012}
        assert await node.closed() in {1006, 1012}
    own_cluster.scheduler.stop(signal.SIGKILL, exit_code=-signal.SIGKILL)
