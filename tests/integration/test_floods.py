"""Attacks on both ports of a real scheduler: users are served meanwhile, its memory stays bounded.

tests/gateway/test_connection_floods.py and tests/stats/test_connections.py have each attack by
itself; here many peers attack at once, and what counts is what the attacked process takes.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest

from scheduler.memory.layout import FIRST_GATEWAY_ROW, STATS_ROW
from tests.gateway.sockets import BINARY, PING, PONG, TEXT, frame, handshake
from tests.integration.cluster import Cluster
from tests.integration.peers import INIT, a_node, a_session, answer, echo, until

MIB = 1 << 20
UNFINISHED_BYTES_MAX = 16 * MIB
GROWTH_BYTES_MAX = 64 * MIB
"""Of a process under attack: far above what its bounds come to, far below what each attack would
take without them."""

SETTINGS = {
    "gateways": 1,
    "limits.message_bytes_max": 2 * MIB,
    "limits.utterance_bytes_max": 2 * MIB,
    "limits.unfinished_bytes_max": UNFINISHED_BYTES_MAX,
    "limits.sessions_per_gateway_max": 1_024,
    "limits.write_buffer_bytes_max": 3 * MIB,
    "limits.suspended_bytes_max": 3 * MIB,
    "limits.messages_per_second_max": 60,
    "limits.handshake_timeout_seconds": 1,
    "limits.first_message_timeout_seconds": 1,
    "limits.close_timeout_seconds": 1,
    "scheduler.web_task_segmentation.pause_ms": 60_000,
}

CONT = 0
JOBS = 20

Record = Callable[[str, object], None]
"""Keeps a figure for pytest's report (--junitxml), from where docs/reliability.md has it."""


def text(**message: object) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


OPEN_SESSION = handshake("/ws/session") + text(type="session_init", **INIT)


class Attacker:
    """A socket that writes as long as it can, and reads only where it is told to."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> bool:
        """Write all of it; False where the other end is gone, or takes nothing any more."""
        try:
            await asyncio.wait_for(self.loop.sock_sendall(self.raw, data), 1)
        except (OSError, TimeoutError):
            return False
        return True

    async def swallow(self) -> None:
        """Read and forget until the other end is gone."""
        with contextlib.suppress(OSError):
            while await self.loop.sock_recv(self.raw, 1 << 16):
                pass


@contextlib.asynccontextmanager
async def attackers(address: str, count: int) -> AsyncIterator[list[Attacker]]:
    """Connect so many."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            raw = stack.enter_context(socket.socket())
            raw.setblocking(False)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
            found.append(Attacker(raw))
        yield found


# --- attacks on the public port ---------------------------------------------------------------


def flooding(piece: bytes, begin: bytes = b"") -> Callable[[Attacker], Awaitable[None]]:
    """Open a session, then send `piece` again and again until that fails."""

    async def attack(attacker: Attacker) -> None:
        reading = asyncio.ensure_future(attacker.swallow())
        if await attacker.write(OPEN_SESSION + begin):
            while await attacker.write(piece):
                await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})

    return attack


async def leave_a_message_unfinished(attacker: Attacker) -> None:
    await attacker.write(OPEN_SESSION)
    await attacker.write(
        frame(TEXT, b"x" * MIB, fin=False) + frame(CONT, b"x" * 500_000, fin=False)
    )


async def leave_an_utterance_unfinished(attacker: Attacker) -> None:
    await attacker.write(OPEN_SESSION)
    await attacker.write(frame(BINARY, b"x" * 1_500_000))


async def never_read(attacker: Attacker) -> None:
    """Have long results made and read none of them."""
    await attacker.write(OPEN_SESSION)
    head = await attacker.loop.sock_recv(attacker.raw, 4_096)
    while b"sess-" not in head:
        head += await attacker.loop.sock_recv(attacker.raw, 4_096)
    session_id = head[head.index(b"sess-") :].partition(b'"')[0].decode()
    for index in range(16):
        await asyncio.sleep(0.02)
        await attacker.write(
            text(
                type="utterance",
                session_id=session_id,
                utterance_index=index,
                manual_cut=True,
                src_lang="en",
                tgt_lang="es",
                audio="A" * MIB,
                audio_format="pcm16",
                sample_rate=16_000,
            )
        )


async def say_nothing(attacker: Attacker) -> None:
    await attacker.write(b"")


async def half_a_handshake(attacker: Attacker) -> None:
    await attacker.write(handshake("/ws/session")[:-4])


PUBLIC: dict[str, tuple[int, Callable[[Attacker], Awaitable[None]]]] = {
    "pings": (10, flooding(frame(PING, b"x" * 125) * 200)),
    "pongs": (10, flooding(frame(PONG) * 400)),
    "tiny-messages": (10, flooding(frame(TEXT, b"{}") * 400)),
    "large-messages": (10, flooding(text(type="nonsense", x="x" * 1_900_000))),
    "deep-messages": (10, flooding(frame(TEXT, b"[" * 1_000_000))),
    "fragments-without-end": (10, flooding(frame(CONT, fin=False) * 400, frame(TEXT, fin=False))),
    "messages-unfinished": (60, leave_a_message_unfinished),
    "utterances-unfinished": (60, leave_an_utterance_unfinished),
    "answers-not-read": (8, never_read),
    "silence": (300, say_nothing),
    "half-handshakes": (300, half_a_handshake),
}


@pytest.mark.parametrize("name", PUBLIC)
async def test_an_attack_on_the_public_port(
    cluster: Cluster, name: str, record_property: Record
) -> None:
    count, attack = PUBLIC[name]
    gateway = psutil.Process(cluster.pid(FIRST_GATEWAY_ROW))
    completed = cluster.totals().completed
    async with (
        a_node(cluster.node_url, echo, max_concurrent_jobs=200) as node,
        a_session(cluster.session_url) as session,
        attackers(cluster.scheduler.endpoints.public, count) as found,
    ):
        before = gateway.memory_info().rss
        attacking = asyncio.gather(*map(attack, found))
        for index in range(JOBS):
            await session.speak(index)
            await session.result(index)
        await attacking
        await session.fence()
        await node.fence()
        grown = gateway.memory_info().rss - before
        record_property("grown_mib", round(grown / MIB, 1))
        assert grown < GROWTH_BYTES_MAX
        assert gateway.pid == cluster.pid(FIRST_GATEWAY_ROW), "it is still the same"
    assert cluster.totals().completed >= completed + JOBS


async def test_long_utterances_at_once_do_not_cut_the_node_they_go_to(cluster: Cluster) -> None:
    count, audio = 20, bytes(750_000)
    cut = cluster.total("slow_readers_cut_total")
    async with (
        a_node(cluster.node_url, answer, max_concurrent_jobs=count) as node,
        contextlib.AsyncExitStack() as stack,
    ):
        sessions = [
            await stack.enter_async_context(a_session(cluster.session_url)) for _ in range(count)
        ]
        node.pause()
        for session in sessions:
            await session.speak(0, audio)
            await session.event("DISPATCHED")
        node.resume()
        for session in sessions:
            await session.result(0)
    assert cluster.total("slow_readers_cut_total") == cut


# --- attacks on the operations port -----------------------------------------------------------


async def idle(attacker: Attacker) -> None:
    await attacker.write(b"GET /hea")


async def garbage(attacker: Attacker) -> None:
    await attacker.write(bytes(range(256)) * 200)


async def huge_heads(attacker: Attacker) -> None:
    await attacker.write(b"GET /health HTTP/1.1\r\n" + b"X: " + b"x" * 8_000 + b"\r\n")
    while await attacker.write(b"X: " + b"x" * 8_000 + b"\r\n"):
        await asyncio.sleep(0)


async def huge_bodies(attacker: Attacker) -> None:
    head = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    if await attacker.write(head):
        for _ in range(40):
            if not await attacker.write(bytes(100_000)):
                break


async def pipelines(attacker: Attacker) -> None:
    """Ask for much without reading any of it."""
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    while await attacker.write(request * 200):
        await asyncio.sleep(0)


OPERATIONS: dict[str, tuple[int, Callable[[Attacker], Awaitable[None]]]] = {
    "idle": (100, idle),
    "garbage": (100, garbage),
    "huge-heads": (50, huge_heads),
    "huge-bodies": (50, huge_bodies),
    "pipelines": (50, pipelines),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_attack_on_the_operations_port(
    cluster: Cluster, name: str, record_property: Record
) -> None:
    count, attack = OPERATIONS[name]
    stats = psutil.Process(cluster.pid(STATS_ROW))
    async with attackers(cluster.scheduler.endpoints.operations, count) as found:
        before = stats.memory_info().rss
        attacking = asyncio.gather(*map(attack, found))
        for _ in range(JOBS):
            health = await asyncio.to_thread(cluster.get, f"{cluster.scheduler.ops_url}/health")
            assert health == (200, b"OK")
        await attacking
        grown = stats.memory_info().rss - before
        record_property("grown_mib", round(grown / MIB, 1))
        assert grown < GROWTH_BYTES_MAX
        assert stats.pid == cluster.pid(STATS_ROW), "it is still the same"
    await until(cluster.is_ready, "ready")


async def test_operators_beyond_the_bound_of_an_address_are_refused(cluster: Cluster) -> None:
    async with attackers(cluster.scheduler.endpoints.operations, 200) as found:
        answers = await asyncio.gather(
            *(asyncio.wait_for(a.loop.sock_recv(a.raw, 12), 5) for a in found[128:]),
            return_exceptions=True,
        )
        refused = [a for a in answers if a == b"HTTP/1.1 503" or isinstance(a, OSError)]
        assert len(refused) == len(answers)
    await until(cluster.is_ready, "there is room again")
