"""Much that many peers send at once, before anybody knows who they are: the gateway stays."""

import asyncio
import json
import struct

from scheduler.memory.layout import FIRST_GATEWAY_ROW
from tests.gateway.sockets import TEXT, handshake
from tests.integration.cluster import Cluster
from tests.integration.peers import a_node, a_session, echo
from tests.integration.test_floods import attackers

SETTINGS = {"gateways": 1}

ATTACKERS = 40
HEADERS = 100
"""Of a request; more than a browser behind proxies sends."""


def costly_message() -> bytes:
    """Return a registration of nearly 8 MiB that takes long to decode, and is wrong."""
    state = {str(number): "ready" for number in range(480_000)}
    return json.dumps(
        {"type": "node_register", "capability_state": state}, separators=(",", ":")
    ).encode()


async def check_served(cluster: Cluster, pid: int) -> None:
    async with (
        a_node(cluster.node_url, echo),
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        await session.result(0)
    assert cluster.pid(FIRST_GATEWAY_ROW) == pid, "it is still the same"


async def test_huge_first_messages_that_end_at_once(cluster: Cluster) -> None:
    pid = cluster.pid(FIRST_GATEWAY_ROW)
    message = costly_message()
    # A mask of zeros leaves the payload as it is.
    frame = struct.pack("!BBQI", 0x80 | TEXT, 0x80 | 127, len(message), 0) + message
    async with attackers(cluster.scheduler.endpoints.public, ATTACKERS) as found:
        for attacker in found:
            await attacker.write(handshake("/ws/node"))
            await attacker.loop.sock_recv(attacker.raw, 4_096)
        await asyncio.gather(*(attacker.write(frame[:-1]) for attacker in found))
        await asyncio.gather(*(attacker.write(frame[-1:]) for attacker in found))
        await check_served(cluster, pid)


async def test_handshakes_of_many_headers_at_once(cluster: Cluster) -> None:
    pid = cluster.pid(FIRST_GATEWAY_ROW)
    headers = {f"X{number}": "x" * 100 for number in range(HEADERS)}
    request = handshake("/ws/session", **headers)
    async with attackers(cluster.scheduler.endpoints.public, 10 * ATTACKERS) as found:
        await asyncio.gather(*(attacker.write(request) for attacker in found))
        replies = [await attacker.loop.sock_recv(attacker.raw, 12) for attacker in found]
        assert replies == [b"HTTP/1.1 431"] * len(found)
        await check_served(cluster, pid)
