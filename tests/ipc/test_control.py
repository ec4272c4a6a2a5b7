import os
import select
import socket
from collections.abc import Iterator

import pytest

from scheduler.config import ObservabilitySettings
from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull
from scheduler.ipc.control import (
    MESSAGE_BYTES_MAX,
    REASON_CHARS_MAX,
    BootFailed,
    Control,
    Drain,
    Drained,
    Link,
    Message,
    Ready,
    SetCredentials,
    SetLogging,
    make_control,
)
from scheduler.protocol.ids import GATEWAYS_MAX


@pytest.fixture
def pair() -> Iterator[tuple[Control, Control]]:
    ours, theirs = make_control()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(pair: tuple[Control, Control]) -> None:
    ours, theirs = pair
    sent: list[Message] = [
        Ready(),
        Drained(),
        BootFailed("ü" * REASON_CHARS_MAX),
        Drain(2.5),
        Link("gateway", 3, 1),
        SetLogging(ObservabilitySettings(levels={"scheduler.gateway": "debug"})),
        SetCredentials(),
    ]
    for message in sent:
        ours.send(message)
    assert select.select([theirs], [], [], 0)[0] == [theirs]
    assert theirs.receive() == [(message, []) for message in sent]
    assert theirs.receive() == []


def test_descriptors_travel_with_their_message(pair: tuple[Control, Control]) -> None:
    ours, theirs = pair
    pipes = [os.pipe() for _ in range(2)]
    for index, fds in enumerate(pipes):
        ours.send(Link("gateway", index, 0), fds)
        os.close(fds[0])
        os.close(fds[1])
    for index, (message, (read_fd, write_fd)) in enumerate(theirs.receive()):
        assert message == Link("gateway", index, 0)
        assert not os.get_inheritable(read_fd)
        os.write(write_fd, b"%d" % index)
        assert os.read(read_fd, 10) == b"%d" % index
        os.close(read_fd)
        os.close(write_fd)


def test_the_end_comes_after_the_last_message(pair: tuple[Control, Control]) -> None:
    ours, theirs = pair
    theirs.send(Drained())
    theirs.close()
    assert ours.receive() == [(Drained(), [])]
    with pytest.raises(ChannelClosed):
        ours.receive()
    with pytest.raises(ChannelClosed):
        ours.send(Ready())


def test_last_words_of_a_peer_that_left_messages_unread_arrive(
    pair: tuple[Control, Control],
) -> None:
    ours, theirs = pair
    ours.send(Link("dispatcher", 0, 0))
    theirs.send(BootFailed("no room"))
    theirs.close()
    assert ours.receive() == [(BootFailed("no room"), [])]
    with pytest.raises(ChannelClosed):
        ours.receive()


def test_a_dispatcher_can_be_linked_to_all_gateways_before_it_reads(
    pair: tuple[Control, Control],
) -> None:
    ours, theirs = pair
    fds = os.pipe()
    for index in range(GATEWAYS_MAX):
        ours.send(Link("gateway", index, 0), fds)
    received = theirs.receive() + theirs.receive()
    assert [message for message, _ in received] == [
        Link("gateway", index, 0) for index in range(GATEWAYS_MAX)
    ]
    for fd in (*fds, *(fd for _, pair_fds in received for fd in pair_fds)):
        os.close(fd)


def test_a_peer_that_never_reads_is_noticed(pair: tuple[Control, Control]) -> None:
    ours, _ = pair

    def send_for_ever() -> None:
        while True:
            ours.send(Ready())

    with pytest.raises(ChannelFull):
        send_for_ever()


@pytest.mark.parametrize("data", [b"\xc1", b"\x80", b"x" * (MESSAGE_BYTES_MAX + 1)])
def test_what_no_peer_sends_is_refused_and_leaves_no_descriptor(
    pair: tuple[Control, Control], data: bytes
) -> None:
    ours, theirs = pair
    read_fd, write_fd = os.pipe()
    socket.send_fds(ours._socket, [data], [write_fd])
    os.close(write_fd)
    with pytest.raises(ChannelCorrupt):
        theirs.receive()
    assert os.read(read_fd, 1) == b""  # no copy of the writing end is open
    os.close(read_fd)
