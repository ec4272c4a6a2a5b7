"""Channels over real pipes: whole records in order, bounded queues, an end that is noticed."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.protocol.records import (
    Assign,
    CancelJob,
    Deliver,
    Failure,
    RegisterNode,
    Submit,
    ToDispatcher,
    ToGateway,
)

BOUND = 1 << 22

Gateway = Channel[ToGateway]
Dispatcher = Channel[ToDispatcher]


@pytest.fixture
def ends() -> Iterator[tuple[Gateway, Dispatcher]]:
    ours, theirs = make_pipes()
    gateway: Gateway = Channel(*ours, ToGateway, queue_bytes_max=BOUND)
    dispatcher: Dispatcher = Channel(*theirs, ToDispatcher, queue_bytes_max=BOUND)
    yield gateway, dispatcher
    gateway.close()
    dispatcher.close()


def drain(channel: Dispatcher) -> list[ToDispatcher]:
    records: list[ToDispatcher] = []
    while batch := channel.receive():
        records += batch
    return records


def test_records_arrive_in_order_in_both_directions(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    sent = [Submit(1, 7), CancelJob(1, "gone"), Submit(2, 3, 5, 6)]
    for record in sent:
        gateway.queue(record)
    assert gateway.flush()
    assert dispatcher.receive() == sent
    dispatcher.queue(Assign(1, 1, 2, None))
    dispatcher.queue(Deliver(1, 1, 2, None))
    assert dispatcher.flush()
    assert gateway.receive() == [Assign(1, 1, 2, None), Deliver(1, 1, 2, None)]


def test_nothing_there_is_no_records(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    assert gateway.receive() == []
    assert gateway.queued_bytes == 0
    assert gateway.flush()
    assert dispatcher.receive() == []


def test_a_reader_that_is_behind_fills_the_queue_up_to_its_bound(
    ends: tuple[Gateway, Dispatcher],
) -> None:
    gateway, dispatcher = ends
    queued = 0
    with pytest.raises(ChannelFull):  # noqa: PT012 - which call of many meets the bound is open
        while True:
            gateway.queue(Submit(queued, 1))
            queued += 1
            if queued % 1000 == 0:
                gateway.flush()
    assert gateway.queued_bytes >= BOUND
    assert gateway.queued_bytes
    records: list[ToDispatcher] = []
    while not gateway.flush() or not records or len(records) < queued:
        records += drain(dispatcher)
    assert [r.job for r in records if isinstance(r, Submit)] == list(range(queued))
    gateway.queue(Submit(0, 1))


def test_records_queued_together_are_sent_together_or_refused_together(
    ends: tuple[Gateway, Dispatcher],
) -> None:
    gateway, dispatcher = ends
    sent = [Submit(job, 1) for job in range(1_000)]
    gateway.queue_all(sent)
    assert gateway.flush()
    assert drain(dispatcher) == sent
    while gateway.queued_bytes < BOUND:
        gateway.queue_all(sent)
    before = gateway.queued_bytes
    with pytest.raises(ChannelFull):
        gateway.queue_all(sent)
    assert gateway.queued_bytes == before


def test_long_records_of_one_turn_never_make_a_frame_too_long_to_be_read(
    ends: tuple[Gateway, Dispatcher],
) -> None:
    gateway, dispatcher = ends
    services = ["語" * 64] * 256
    sent = [RegisterNode(n, "n", "n", 1, True, services, services, 1, 1, 0, 0) for n in range(200)]
    gateway.queue_all(sent)
    records: list[ToDispatcher] = []
    while not gateway.flush():
        records += drain(dispatcher)
    assert records + drain(dispatcher) == sent


def test_the_end_comes_after_everything_that_was_sent(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    gateway.queue(Submit(1, 1))
    gateway.flush()
    gateway.close()
    assert dispatcher.receive() == [Submit(1, 1)]
    with pytest.raises(ChannelClosed):
        dispatcher.receive()


def test_writing_to_a_dead_process_is_noticed(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    dispatcher.close()
    gateway.queue(Submit(1, 1))
    with pytest.raises(ChannelClosed):
        gateway.flush()


def frame(*records: ToDispatcher) -> bytes:
    body = msgspec.msgpack.encode(records)
    return len(body).to_bytes(4, "little") + body


@given(st.data())
def test_frames_may_arrive_in_any_pieces(data: st.DataObject) -> None:
    stream = frame(Submit(1, 7)) + frame() + frame(Failure(1, 2, 3, "X", "", b"{}"), Submit(9, 1))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {0, len(stream)})
    ours, theirs = make_pipes()
    channel: Dispatcher = Channel(*theirs, ToDispatcher, queue_bytes_max=BOUND)
    records: list[ToDispatcher] = []
    for start, end in pairwise(cuts):
        os.write(ours[1], stream[start:end])
        records += channel.receive()
    assert records == [Submit(1, 7), Failure(1, 2, 3, "X", "", b"{}"), Submit(9, 1)]
    channel.close()
    for fd in ours:
        os.close(fd)


def test_a_frame_may_be_split_anywhere(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    stream = frame(Submit(1, 7), CancelJob(1, "gone")) + frame(Submit(2, 7))
    for cut in range(1, len(stream)):
        os.write(gateway.write_fd, stream[:cut])
        records = dispatcher.receive()
        os.write(gateway.write_fd, stream[cut:])
        records += dispatcher.receive()
        assert records == [Submit(1, 7), CancelJob(1, "gone"), Submit(2, 7)]


@given(st.binary(min_size=1, max_size=64))
def test_garbage_is_corruption_never_a_crash(garbage: bytes) -> None:
    ours, theirs = make_pipes()
    channel: Dispatcher = Channel(*theirs, ToDispatcher, queue_bytes_max=BOUND)
    os.write(ours[1], len(garbage).to_bytes(4, "little") + garbage)
    try:
        records = channel.receive()
    except ChannelCorrupt:
        pass
    else:
        assert garbage[0] == 0x90 or records  # an empty array, or records by chance
    channel.close()
    for fd in ours:
        os.close(fd)


def test_good_records_before_garbage_are_handed_out_first(
    ends: tuple[Gateway, Dispatcher],
) -> None:
    gateway, dispatcher = ends
    os.write(gateway.write_fd, frame(Submit(1, 1)) + b"\xff\xff\xff\xff")
    assert dispatcher.receive() == [Submit(1, 1)]
    with pytest.raises(ChannelCorrupt, match="frame of 4294967295 bytes"):
        dispatcher.receive()


def test_nothing_is_believed_after_corruption(ends: tuple[Gateway, Dispatcher]) -> None:
    gateway, dispatcher = ends
    os.write(gateway.write_fd, b"\xff\xff\xff\xff")
    for _ in range(2):
        with pytest.raises(ChannelCorrupt):
            dispatcher.receive()
    os.write(gateway.write_fd, frame(Submit(1, 1)))
    with pytest.raises(ChannelCorrupt):
        dispatcher.receive()


@pytest.mark.parametrize(
    "record",
    [
        b"\x97\x01\x01\x07\xff\xff\xc0" + b"\x91" * 100_000 + b"\xc0",
        b"\x93\x04\x01\xa2\xff\xfe",
        b"\x93\x7f\x01\x01",
        b"\x92\x01",
    ],
    ids=["nested too deeply", "not UTF-8", "of an unknown kind", "cut short"],
)
def test_a_record_that_can_not_be_read_is_corruption(
    ends: tuple[Gateway, Dispatcher], record: bytes
) -> None:
    gateway, dispatcher = ends
    os.write(gateway.write_fd, (len(record) + 1).to_bytes(4, "little") + b"\x91" + record)
    with pytest.raises(ChannelCorrupt, match="not a frame of records"):
        dispatcher.receive()


def test_two_processes_exchange_more_than_the_pipes_hold() -> None:
    ours, theirs = make_pipes()
    code = (
        "import select, sys; from scheduler.ipc.channel import Channel;"
        "from scheduler.protocol.records import *; from scheduler.errors import ChannelClosed\n"
        "c = Channel(*map(int, sys.argv[1:]), ToDispatcher, queue_bytes_max=1 << 24)\n"
        "try:\n"
        "  while True:\n"
        "    select.select([c.read_fd], [c.write_fd] if c.queued_bytes else [], [])\n"
        "    for r in c.receive(): c.queue(Assign(r.job, 1, 0, None))\n"
        "    c.flush()\n"
        "except ChannelClosed: pass\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, theirs)], pass_fds=theirs)
    for fd in theirs:
        os.close(fd)
    gateway: Gateway = Channel(*ours, ToGateway, queue_bytes_max=1 << 26)
    try:
        total = 200_000
        gateway.queue_all([Submit(job, 1) for job in range(total)])
        received = 0
        while received < total:
            gateway.flush()
            writers = [gateway.write_fd] if gateway.queued_bytes else []
            ready, writable, _ = select.select([gateway.read_fd], writers, [], 30)
            assert ready or writable, "the other process does nothing any more"
            for record in gateway.receive():
                assert isinstance(record, Assign)
                assert record.job == received
                received += 1
        gateway.close()
        assert process.wait(30) == 0
    finally:
        gateway.close()
        process.kill()
        process.wait()
