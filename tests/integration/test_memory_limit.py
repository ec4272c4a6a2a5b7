"""A gateway over its memory limit takes nothing new, and says when to come back."""

import pytest

from tests.integration.cluster import Cluster
from tests.integration.peers import raw_session, until

BELOW_ANY_PYTHON = 1 << 20


@pytest.mark.parametrize(
    "own_cluster", [{"limits.memory_bytes_max": BELOW_ANY_PYTHON}], indirect=True
)
async def test_over_the_limit_sessions_are_refused(own_cluster: Cluster) -> None:
    await until(lambda: "short of memory" in own_cluster.new_log(), "the gateways notice")
    async with raw_session(own_cluster.session_url) as session:
        await session.send(
            "session_init", client_version="1", platform="web", src_lang="en", tgt_lang="es"
        )
        error = await session.expect("error", code="SERVER_BUSY")
        assert "limits.memory_bytes_max" in error["message"]
        assert error["details"]["retry_after_ms"] > 0
