"""Which ends of a connection are for good, and after which the session may go on on another."""

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.gateway.connection import Connection
from tests.gateway.sockets import (
    LOOPS,
    PING,
    TEXT,
    RawSocket,
    RecordingPeer,
    close_frame,
    frame,
    run_on,
    serve,
    until,
)

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Failing(RecordingPeer):
    """Has a fault of ours in it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.answer = self.fail

    def fail(self, message: bytes) -> None:
        raise RuntimeError(message)


def ended(
    loop: str,
    end: Callable[[RawSocket, RecordingPeer], object],
    peer: Callable[[Connection], RecordingPeer] = RecordingPeer,
    **limits: Any,
) -> bool:
    """Return whether it was for good."""
    ends: list[bool] = []

    async def scenario() -> None:
        async with serve(peer=peer, **limits) as site:
            raw = await site.raw_websocket()
            found = await site.peer()
            end(raw, found)
            await until(lambda: found.closed == 1)
            ends.append(found.connection.is_ended)

    run_on(loop, scenario)
    return ends[0]


@pytest.mark.parametrize(
    "end",
    [
        lambda raw, _: raw.writer.transport.abort(),
        lambda raw, _: raw.writer.write_eof(),
        lambda raw, _: raw.send(close_frame(1001)),
        lambda _, peer: peer.connection.abort(),
        lambda _, peer: peer.connection.give_up(),
        lambda _, peer: peer.connection.ping_timed_out(),
    ],
    ids=["reset", "eof", "close frame", "cut by us", "no room for what is unfinished", "no pong"],
)
def test_a_socket_that_is_lost_is_not_the_end(
    loop: str, end: Callable[[RawSocket, RecordingPeer], object]
) -> None:
    assert not ended(loop, end)


def test_nor_is_one_that_was_not_read_from(loop: str) -> None:
    def overflow(_: RawSocket, peer: RecordingPeer) -> None:
        for _turn in range(3):
            peer.connection.send(bytes(1 << 20))

    assert not ended(loop, overflow, write_buffer_bytes_max=1 << 20, message_bytes_max=1 << 20)


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"\xff"),
        frame(TEXT, reserved=4),
        frame(TEXT, bytes(3_000)),
        frame(TEXT, b"x") * 200,
        frame(PING) * 200,
    ],
    ids=["no UTF-8", "reserved bits", "too large", "messages too fast", "pings too fast"],
)
def test_a_breach_is(loop: str, sent: bytes) -> None:
    def breach(raw: RawSocket, _: RecordingPeer) -> None:
        raw.send(sent)

    assert ended(loop, breach, messages_per_second_max=5, message_bytes_max=2_000)


def test_so_is_our_close(loop: str) -> None:
    assert ended(loop, lambda _, peer: peer.connection.close(1000, "that was all"))


def test_so_is_a_fault_of_ours(loop: str) -> None:
    assert ended(loop, lambda raw, _: raw.send(frame(TEXT, b"x")), Failing)
