"""What doesn't finish within drain_seconds is not waited for."""

from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, hold, until

SETTINGS = {"drain_seconds": 0.5}


async def test_jobs_that_run_on_are_not_waited_for(own_cluster: Cluster) -> None:
    async with (
        a_node(own_cluster.node_url, hold) as node,
        a_session(own_cluster.session_url) as session,
    ):
        await session.speak()
        await node.job()
        own_cluster.scheduler.process.terminate()
        await session.expect("error", code="SERVER_SHUTDOWN")
        assert await session.closed() == 1012
        await node.closed()
    await until(lambda: own_cluster.scheduler.process.poll() is not None, "it has ended")
    own_cluster.scheduler.stop()
