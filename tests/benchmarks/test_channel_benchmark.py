"""Costs of a batch of records from one end of a channel to the other: queue, write, read.

Beside it a pipe of multiprocessing's, which pickles.
"""

import multiprocessing
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.ipc.channel import Channel, make_pipes
from scheduler.protocol.ids import job_key_base, node_ref
from scheduler.protocol.records import ArenaRef, Assign, Submit, ToDispatcher, ToGateway
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized

BATCHES = sized([1, 64, 512], [1, 5])
JOB = job_key_base(3, 1)
NODE = node_ref(1_000, 7)
PAYLOAD = ArenaRef(3, 1 << 20, 44_000, (1 << 40) + 9)


def pass_through(benchmark: BenchmarkFixture, inbound: Any, records: list[Any]) -> None:
    ours, theirs = make_pipes()
    sender: Channel[Any] = Channel(*ours, ToGateway, queue_bytes_max=1 << 20)
    receiver: Channel[Any] = Channel(*theirs, inbound, queue_bytes_max=1 << 20)

    def send_and_receive() -> list[Any]:
        for record in records:
            sender.queue(record)
        sender.flush()
        return receiver.receive()

    reading, writing = multiprocessing.Pipe(duplex=False)

    def send_and_receive_pickled() -> list[Any]:
        writing.send(records)
        received: list[Any] = reading.recv()
        return received

    try:
        found = beside(benchmark, send_and_receive, multiprocessing=send_and_receive_pickled)
        assert found == records == send_and_receive_pickled()
    finally:
        reading.close()
        writing.close()
        sender.close()
        receiver.close()


@pytest.mark.parametrize("batch", BATCHES)
def test_submits(benchmark: BenchmarkFixture, batch: int) -> None:
    pass_through(benchmark, ToDispatcher, [Submit(JOB + n, 7) for n in range(batch)])


@pytest.mark.parametrize("batch", BATCHES)
def test_assigns_with_payload(benchmark: BenchmarkFixture, batch: int) -> None:
    pass_through(benchmark, ToGateway, [Assign(JOB + n, 1, NODE, PAYLOAD) for n in range(batch)])
