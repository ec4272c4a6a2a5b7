"""Costs of one read that brings one message, beside the library's protocol object alone."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.frames import Frame
from websockets.protocol import SERVER, Protocol

from scheduler.gateway.handshake import library_log
from scheduler.gateway.inbound import Inbound, Message
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized
from tests.gateway.sockets import TEXT, frame

MESSAGE_BYTES_MAX = 1 << 20
RATE = 10**12
"""Messages a second: none is to be refused."""


@pytest.mark.parametrize("size", sized([64, 700, 60_000], [64, 700]))
def test_a_message_of_one_frame(benchmark: BenchmarkFixture, size: int) -> None:
    data = frame(TEXT, b"x" * size)
    inbound = Inbound(MESSAGE_BYTES_MAX, RATE, 0.0)
    protocol = Protocol(SERVER, max_size=MESSAGE_BYTES_MAX, logger=library_log)

    def through_the_library() -> list[bytes]:
        protocol.receive_data(data)
        frames = protocol.events_received()
        return [bytes(found.data) for found in frames if isinstance(found, Frame)]

    found = beside(benchmark, lambda: [*inbound.receive(data, 0.0)], library=through_the_library)
    assert found == [Message(True, b"x" * size)]
    assert through_the_library() == [b"x" * size]
