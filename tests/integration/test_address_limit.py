"""`limits.connections_per_address_max` at two gateways, for two addresses of this machine."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from scheduler.protocol.codes import CODE_LABELS
from tests.integration.cluster import Cluster
from tests.integration.peers import until
from tests.integration.returning import a_client, a_socket

LIMIT, GATEWAYS = 8, 2
ATTEMPTS_MAX = 2_000
FIRST, SECOND = "127.0.0.1", "127.0.0.2"

SETTINGS = {"gateways": GATEWAYS, "limits.connections_per_address_max": LIMIT}


class Filled:
    """What became of the sockets of an address."""

    opened = 0
    refused = 0


@asynccontextmanager
async def filled(cluster: Cluster, host: str) -> AsyncIterator[Filled]:
    """Open sockets from that address, wherever the kernel leads them, until both refuse one."""
    before = cluster.per_gateway("handshakes_failed_total")
    found = Filled()
    async with AsyncExitStack() as stack:
        for _ in range(ATTEMPTS_MAX):
            try:
                socket = connect(cluster.session_url, proxy=None, local_addr=(host, 0))
                await stack.enter_async_context(socket)
                found.opened += 1
            except InvalidStatus as error:
                check_refusal(error)
                found.refused += 1
                await until(
                    lambda: cluster.total("handshakes_failed_total") == sum(before) + found.refused,
                    "it is counted, and gone",
                )
            now = cluster.per_gateway("handshakes_failed_total")
            if all(count > start for count, start in zip(now, before, strict=True)):
                break
        yield found


def check_refusal(error: InvalidStatus) -> None:
    response = error.response
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Content-Type"] == "application/json"
    assert "address" in json.loads(response.body or b"")["error"]


def rate_limited(cluster: Cluster) -> int:
    column = cluster._views.column("gateway_codes", "refusals_by_code_total")
    return int(column[:, CODE_LABELS.index("RATE_LIMITED")].sum())


async def test_each_address_gets_its_sockets_at_each_gateway_and_no_more(cluster: Cluster) -> None:
    refused = rate_limited(cluster)
    async with filled(cluster, FIRST) as first, filled(cluster, SECOND) as second:
        assert first.opened == second.opened == LIMIT * GATEWAYS
        assert rate_limited(cluster) == refused + first.refused + second.refused
    await until(lambda: cluster.total("connections") == 0, "all are gone")
    async with filled(cluster, FIRST) as again:
        assert again.opened == LIMIT * GATEWAYS, "there is room again"


async def test_a_socket_that_is_led_to_another_gateway_counts_once(cluster: Cluster) -> None:
    await until(lambda: cluster.total("connections") == 0, "sockets of tests before are gone")
    async with a_client(cluster, 0) as client:
        await client.abort()
        await until(lambda: cluster.total("sessions_suspended") == 1, "it is suspended")
        async with a_socket(cluster, 1) as again:
            await again.resume_from(client)
            await until(lambda: cluster.per_gateway("connections") == [1, 1], "nothing but it")
            async with filled(cluster, FIRST) as first, filled(cluster, SECOND) as second:
                assert first.opened == LIMIT * GATEWAYS - 1
                assert second.opened == LIMIT * GATEWAYS
                await again.fence()
        await until(lambda: cluster.total("connections") == 0, "it is gone")
        async with filled(cluster, FIRST) as later:
            assert later.opened == LIMIT * GATEWAYS
