"""The receiving half of a connection, without a socket."""

import contextlib
import itertools
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode

from scheduler.gateway.inbound import (
    BYTES_PER_COST,
    CONTROL_BYTES_MAX,
    FRAGMENTS_PER_COST,
    Inbound,
    Message,
    OverRate,
    Pong,
    Violation,
)
from scheduler.gateway.rate import FLOOD_SECONDS
from tests.gateway.sockets import BINARY, PING, PONG, TEXT, frame

CONT = 0


def make_inbound(message_bytes_max: int = 1 << 20, per_second: int = 1_000) -> Inbound:
    return Inbound(message_bytes_max, per_second, 0.0)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(0, 300), max_size=4),
    st.lists(st.integers(0, 5_000), max_size=6),
)
def test_messages_come_whole_however_they_are_cut(
    messages: list[str | bytes], fragment_cuts: list[int], read_cuts: list[int]
) -> None:
    stream = b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        pieces = split(payload, fragment_cuts) or [b""]
        for index, piece in enumerate(pieces):
            fin = index == len(pieces) - 1
            stream += frame(CONT if index else opcode, piece, fin=fin) + frame(PING)
    inbound = make_inbound()
    events = [
        event for data in split(stream, read_cuts) for event in inbound.receive(data, now=0.0)
    ]
    assert events == [
        Message(True, message.encode()) if isinstance(message, str) else Message(False, message)
        for message in messages
    ]
    pings = stream.count(frame(PING))
    assert inbound.protocol.data_to_send() == [b"\x8a\x00"] * pings


FRAMES = st.builds(
    lambda head, payload, masked, length: (
        bytes((head,)) + frame(TEXT, payload, masked=masked)[1:][: length or None]
    ),
    st.one_of(
        st.sampled_from([0x81, 0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8A]), st.integers(0, 255)
    ),
    st.one_of(
        st.text(max_size=20).map(str.encode),
        st.sampled_from([b"", b"\x03\xe8", b"x" * 125, b"x" * 126, b"x" * 200, b"x" * 70_000]),
    ),
    st.sampled_from([True] * 9 + [False]),
    st.sampled_from([0] * 9 + [1, 3, 9]),
)
"""Whole ones and cut ones, allowed and not."""


@settings(max_examples=300)
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 5_000), max_size=6))
def test_what_goes_past_the_protocol_object_is_what_it_would_have_said(
    frames: list[bytes], read_cuts: list[int]
) -> None:
    stream = b"".join(frames)
    inbound = make_inbound(message_bytes_max=66_000, per_second=1_000_000)
    reference = make_inbound(message_bytes_max=66_000).protocol
    messages = []
    with contextlib.suppress(Violation):  # of UTF-8, which the protocol object leaves to us
        for data in split(stream, read_cuts):
            for event in inbound.receive(data, now=0.0):
                messages += [event.payload] if isinstance(event, Message) else []
        reference.receive_data(stream)
        assert inbound.protocol.state == reference.state
        assert type(inbound.protocol.parser_exc) is type(reference.parser_exc)
        assert inbound.protocol.data_to_send() == reference.data_to_send()
        assert messages == _messages(reference.events_received())


def _messages(frames: Iterable[object]) -> list[bytes]:
    whole, begun = [], b""
    for found in frames:
        assert isinstance(found, Frame)
        if found.opcode in {Opcode.CONT, Opcode.TEXT, Opcode.BINARY}:
            begun += found.data
            if found.fin:
                whole.append(begun)
                begun = b""
    return whole


def test_pongs_are_handed_on_even_over_the_rate() -> None:
    inbound = make_inbound(per_second=1)
    assert list(inbound.receive(frame(PONG, b"a") * 4, 0.0)) == [Pong(b"a")] * 4


def test_over_the_rate_is_told_once_a_second() -> None:
    inbound = make_inbound(per_second=1)
    events = list(inbound.receive(frame(TEXT, b"x") * 2 + frame(PING) + frame(TEXT, b"x"), 0.0))
    assert events == [Message(True, b"x")] * 2 + [OverRate(tell=True), OverRate(tell=False)]
    assert list(inbound.receive(frame(TEXT, b"x") * 2, 1.0)) == [
        Message(True, b"x"),
        OverRate(tell=True),
    ]


def test_a_ping_over_the_rate_leaves_the_message_around_it_alone() -> None:
    inbound = make_inbound(per_second=1)
    list(inbound.receive(frame(TEXT, b"a", fin=False) + frame(PING) * 3, 0.0))
    assert list(inbound.receive(frame(CONT, b"b"), 2.0)) == [Message(True, b"ab")]


def in_fragments(count: int, *, end: bool = True) -> bytes:
    return (
        frame(TEXT, b"a", fin=False)
        + frame(CONT, b"b", fin=False) * (count - 2)
        + (frame(CONT, b"c", fin=end))
    )


@pytest.mark.parametrize("count", [2, 17, 20 * FRAGMENTS_PER_COST - 1])
def test_a_message_may_have_as_many_fragments_as_the_rate_allows(count: int) -> None:
    inbound = make_inbound(per_second=10)
    events = list(inbound.receive(in_fragments(count), 0.0))
    assert events == [Message(True, b"a" + b"b" * (count - 2) + b"c")]


def test_a_message_of_more_fragments_is_dropped_whole() -> None:
    inbound = make_inbound(per_second=10)
    data = in_fragments(22 * FRAGMENTS_PER_COST) + frame(TEXT, b"next")
    events = list(inbound.receive(data, 0.0))
    assert events == [OverRate(tell=True), OverRate(tell=False), OverRate(tell=False)]
    assert inbound.unfinished_bytes == 0
    assert list(inbound.receive(in_fragments(2), 1.0)) == [Message(True, b"ac")]


def test_a_dropped_message_stays_dropped_when_the_rate_allows_again() -> None:
    inbound = make_inbound(per_second=10)
    data = in_fragments(21 * FRAGMENTS_PER_COST, end=False)
    assert list(inbound.receive(data, 0.0)) == [OverRate(tell=True)]
    assert inbound.unfinished_bytes == 0
    assert list(inbound.receive(frame(CONT, b"d") + frame(TEXT, b"next"), 9.0)) == [
        Message(True, b"next")
    ]


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_long_message_counts_by_its_length(pieces: int) -> None:
    inbound = make_inbound(per_second=10)
    length = 4 * BYTES_PER_COST
    pieces_bytes = [b"x" * (length // pieces)] * pieces
    data = b"".join(
        frame(CONT if index else TEXT, piece, fin=index == pieces - 1)
        for index, piece in enumerate(pieces_bytes)
    )
    events = [event for _ in range(5) for event in inbound.receive(data, 0.0)]
    assert [isinstance(event, Message) for event in events] == [True] * 4 + [False]


def test_the_longest_message_counts_as_a_seconds_worth() -> None:
    inbound = make_inbound(per_second=1)
    data = frame(TEXT, b"x" * (1 << 20))
    events = [event for _ in range(3) for event in inbound.receive(data, 0.0)]
    assert [isinstance(event, Message) for event in events] == [True, True, False]


def test_fragments_without_end_are_a_violation() -> None:
    inbound = make_inbound(per_second=10)
    flood = frame(CONT, fin=False) * FRAGMENTS_PER_COST * 10 * (2 + FLOOD_SECONDS)
    with pytest.raises(Violation) as violation:
        list(inbound.receive(frame(TEXT, fin=False) + flood * 2, 0.0))
    assert violation.value.code == 1008


@pytest.mark.parametrize("over", [1, CONTROL_BYTES_MAX, CONTROL_BYTES_MAX + 1, 10_000])
@pytest.mark.parametrize("first", [0, 40, 100])
def test_a_message_too_large_ends_with_the_protocols_own_complaint(over: int, first: int) -> None:
    inbound = make_inbound(message_bytes_max=100)
    assert list(inbound.receive(frame(TEXT, b"x" * 100), 0.0)) == [Message(True, b"x" * 100)]
    data = frame(TEXT, b"x" * first, fin=False) + frame(CONT, b"x" * (100 - first + over))
    assert list(inbound.receive(data + frame(TEXT, b"after"), 0.0)) == []
    assert isinstance(inbound.protocol.parser_exc, PayloadTooBig)


def test_a_frame_too_large_is_refused_by_its_head() -> None:
    inbound = make_inbound(message_bytes_max=200)
    list(inbound.receive(frame(TEXT, b"x" * 201)[:8], 0.0))
    assert isinstance(inbound.protocol.parser_exc, PayloadTooBig)


def test_the_beginning_of_any_frame_counts_as_unfinished() -> None:
    for reserved in (0, 4):
        inbound = make_inbound()
        list(inbound.receive(frame(TEXT, b"x" * 500_000, reserved=reserved)[:400_000], 0.0))
        assert inbound.unfinished_bytes > 399_900


def test_a_ping_needs_no_room_in_the_message_around_it() -> None:
    inbound = make_inbound(message_bytes_max=100)
    ping = frame(PING, b"p" * CONTROL_BYTES_MAX)
    data = frame(TEXT, b"x" * 100, fin=False) + ping + frame(CONT)
    assert list(inbound.receive(data, 0.0)) == [Message(True, b"x" * 100)]


def test_a_quiet_connection_keeps_nothing_of_its_last_message() -> None:
    inbound = make_inbound()
    tracemalloc.start()
    try:
        messages = list(inbound.receive(frame(TEXT, b"x" * 500_000), 0.0))
        assert len(messages) == 1
        del messages
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_messages_may_become_longer_from_the_next_frame_on() -> None:
    inbound = make_inbound(message_bytes_max=200)
    begun = frame(TEXT, b"a" * 200, fin=False) + frame(PING, b"p" * CONTROL_BYTES_MAX)
    assert not list(inbound.receive(begun, 0.0))
    inbound.allow_messages_of(300)
    rest = frame(CONT, b"b" * 100) + frame(TEXT, b"c" * 300)
    assert list(inbound.receive(rest, 0.0)) == [
        Message(True, b"a" * 200 + b"b" * 100),
        Message(True, b"c" * 300),
    ]
    assert not list(inbound.receive(frame(TEXT, b"d" * 301), 0.0))
    assert isinstance(inbound.protocol.parser_exc, PayloadTooBig)
