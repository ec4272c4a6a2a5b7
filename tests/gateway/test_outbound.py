"""Frames on their way out."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode

from scheduler.gateway.outbound import JOIN_BYTES_MAX, Outbound, ping_payload, short_reason


class Wire:
    """A transport that keeps what each call wrote."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []

    def write(self, data: bytes) -> None:
        self.writes.append([data])

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.writes.append(list(pieces))


def written(outbound: Outbound) -> list[list[bytes]]:
    wire = Wire()
    outbound.write(cast(asyncio.Transport, cast(Any, wire)))
    return wire.writes


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_text_frames_are_those_of_the_rfc(size: int) -> None:
    outbound = Outbound()
    outbound.add_text((b"x" * (size // 2), b"x" * (size - size // 2)))
    expected = Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    assert (outbound.messages, outbound.unwritten_bytes) == (1, len(expected))
    (pieces,) = written(outbound)
    assert b"".join(pieces) == expected
    assert (outbound.messages, outbound.unwritten_bytes) == (0, 0)


def test_ping_frames_are_those_of_the_rfc() -> None:
    outbound = Outbound()
    outbound.add_ping(ping_payload(258))
    expected = Frame(Opcode.PING, b"\0\0\0\0\0\0\x01\x02").serialize(mask=False)
    assert written(outbound) == [[expected]]


def test_small_frames_leave_as_one_piece_and_large_ones_uncopied() -> None:
    outbound = Outbound()
    outbound.add_text((b"a",))
    outbound.add_text((b"b",))
    assert written(outbound) == [[b"\x81\x01a\x81\x01b"]]
    large = b"x" * (JOIN_BYTES_MAX + 1)
    outbound.add_text((b"head", large))
    (pieces,) = written(outbound)
    assert any(piece is large for piece in pieces)


def test_what_was_cleared_is_not_written() -> None:
    outbound = Outbound()
    outbound.add_text((b"a",))
    outbound.clear()
    outbound.add_text((b"b",))
    assert written(outbound) == [[b"\x81\x01b"]]


def test_reasons_are_cut_between_characters() -> None:
    assert short_reason("short") == "short"
    assert short_reason("é" * 100) == "é" * 61
    assert short_reason("x" * 200) == "x" * 123
