"""RFC 6455 section 5.2: lengths, reserved bits, opcodes and masks of single frames."""

import asyncio
import struct
from collections.abc import Iterator

import pytest

from scheduler.gateway.connection import Connection
from tests.gateway.rfc6455 import CONT, MESSAGE_BYTES_MAX, Bench, Case, bench, write_by_one
from tests.gateway.sockets import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame

__all__ = ["bench"]

# Each border of the three ways of coding a length, and of the receiver's own slices.
LENGTHS = (
    0,
    1,
    2,
    124,
    125,
    126,
    127,
    128,
    16_383,
    16_384,
    16_385,
    65_535,
    65_536,
    65_537,
    131_072,
)


def text_of(length: int) -> bytes:
    return bytes(0x20 + n % 95 for n in range(length))


def bytes_of(length: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(length))


LENGTH_CASES = {
    **{
        f"5.2-text-of-{length}-bytes": Case(
            frame(TEXT, text_of(length)), ((TEXT, text_of(length)),)
        )
        for length in LENGTHS
    },
    **{
        f"5.2-binary-of-{length}-bytes": Case(
            frame(BINARY, bytes_of(length)), binaries=(bytes_of(length),)
        )
        for length in LENGTHS
    },
    "5.2-many-small-messages-in-order": Case(
        b"".join(frame(TEXT, b"%d" % n) for n in range(1_000)),
        tuple((TEXT, b"%d" % n) for n in range(1_000)),
    ),
    "5.2-many-messages-of-1024-bytes-in-order": Case(
        b"".join(frame(TEXT, b"%04d" % n + text_of(1_020)) for n in range(200)),
        tuple((TEXT, b"%04d" % n + text_of(1_020)) for n in range(200)),
    ),
    "5.2-text-of-a-mebibyte": Case(
        frame(TEXT, text_of(MESSAGE_BYTES_MAX)), ((TEXT, text_of(MESSAGE_BYTES_MAX)),)
    ),
    "5.2-binary-of-a-mebibyte": Case(
        frame(BINARY, bytes_of(MESSAGE_BYTES_MAX)), binaries=(bytes_of(MESSAGE_BYTES_MAX),)
    ),
    "5.2-64-bit-length-above-the-limit-is-not-waited-for": Case(
        b"\x82\xff" + struct.pack("!Q", 1 << 40),
        (
            (
                TEXT,
                b'{"type":"error","code":"MESSAGE_TOO_LARGE",'
                b'"message":"a message may have %d bytes"}' % MESSAGE_BYTES_MAX,
            ),
        ),
        close=1009,
    ),
}


@pytest.mark.parametrize("case", LENGTH_CASES.values(), ids=LENGTH_CASES)
def test_lengths(bench: Bench, case: Case) -> None:
    bench.judge(case)


def test_writing_byte_by_byte_is_reading_byte_by_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or these tests would test less than they say."""
    reads: list[int] = []
    received = Connection.data_received

    def count(connection: Connection, data: bytes) -> None:
        reads.append(len(data))
        received(connection, data)

    sent = frame(TEXT, text_of(200))
    monkeypatch.setattr(Connection, "data_received", count)

    async def scenario() -> None:
        raw, _ = await bench.open()
        reads.clear()
        await write_by_one(raw, sent)
        assert await raw.frame() == (TEXT, text_of(200))

    bench.run(scenario())
    assert reads == [1] * len(sent)


# --- reserved bits ----------------------------------------------------------------------------

BEFORE = (TEXT, b"before")
RESERVED_BITS = {
    f"5.2-reserved-bits-{bits:03b}-of-{name}": Case(
        frame(*BEFORE) + frame(opcode, b"x", reserved=bits) + frame(TEXT, b"after"),
        (BEFORE,),
        close=1002,
    )
    for bits in range(1, 8)
    for name, opcode in (
        ("text", TEXT),
        ("binary", BINARY),
        ("ping", PING),
        ("pong", PONG),
        ("close", CLOSE),
    )
}
RESERVED_BITS |= {
    "5.2-reserved-bit-of-an-empty-text": Case(frame(TEXT, reserved=1), close=1002),
    "5.2-reserved-bit-of-a-continuation": Case(
        frame(TEXT, b"x", fin=False) + frame(CONT, b"y", reserved=4), close=1002
    ),
    "5.2-reserved-bit-of-a-large-frame": Case(
        frame(BINARY, bytes_of(70_000), reserved=2), close=1002
    ),
}


@pytest.mark.parametrize("case", RESERVED_BITS.values(), ids=RESERVED_BITS)
def test_reserved_bits_without_an_extension_fail_the_connection(bench: Bench, case: Case) -> None:
    bench.judge(case)


# --- reserved opcodes -------------------------------------------------------------------------

RESERVED_OPCODES = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
OPCODE_CASES = {
    f"5.2-reserved-opcode-{opcode}-{name}": Case(
        frame(*BEFORE) + sent + frame(PING, b"after"), (BEFORE,), close=1002
    )
    for opcode in RESERVED_OPCODES
    for name, sent in (
        ("empty", frame(opcode)),
        ("with-payload", frame(opcode, b"payload")),
        ("unfinished", frame(opcode, b"x", fin=False)),
        ("inside-a-message", frame(TEXT, b"x", fin=False) + frame(opcode)),
    )
}


@pytest.mark.parametrize("case", OPCODE_CASES.values(), ids=OPCODE_CASES)
def test_reserved_opcodes_fail_the_connection(bench: Bench, case: Case) -> None:
    bench.judge(case)


# --- masks ------------------------------------------------------------------------------------


def masked(opcode: int, payload: bytes, mask: bytes) -> bytes:
    assert len(payload) < 126
    data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + data


MASK_CASES = {
    **{
        f"5.3-mask-{mask.hex()}": Case(masked(TEXT, b"masked", mask), ((TEXT, b"masked"),))
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\x81\x82\x83", b"mask")
    },
    **{
        f"5.1-unmasked-{name}": Case(
            frame(*BEFORE) + frame(opcode, payload, masked=False), (BEFORE,), close=1002
        )
        for name, opcode, payload in (
            ("text", TEXT, b"x"),
            ("empty-text", TEXT, b""),
            ("large-binary", BINARY, bytes_of(70_000)),
            ("ping", PING, b"x"),
            ("pong", PONG, b""),
            ("close", CLOSE, struct.pack("!H", 1000)),
        )
    },
    "5.1-unmasked-continuation": Case(
        frame(TEXT, b"x", fin=False) + frame(CONT, b"y", masked=False), close=1002
    ),
}


@pytest.mark.parametrize("case", MASK_CASES.values(), ids=MASK_CASES)
def test_masks(bench: Bench, case: Case) -> None:
    bench.judge(case)


# --- limits -----------------------------------------------------------------------------------

LIMIT = 2_000


@pytest.fixture(scope="module")
def narrow() -> Iterator[Bench]:
    """A listener that takes short messages only."""
    bench = Bench(message_bytes_max=LIMIT)
    yield bench
    bench.close()


TOO_LARGE: tuple[tuple[int, bytes], ...] = (
    (
        TEXT,
        b'{"type":"error","code":"MESSAGE_TOO_LARGE","message":"a message may have %d bytes"}'
        % LIMIT,
    ),
)
LIMIT_CASES = {
    "7.4.1-text-at-the-limit": Case(frame(TEXT, text_of(LIMIT)) * 2, ((TEXT, text_of(LIMIT)),) * 2),
    "7.4.1-text-one-over": Case(frame(TEXT, text_of(LIMIT + 1)), TOO_LARGE, close=1009),
    "7.4.1-binary-at-the-limit": Case(frame(BINARY, bytes_of(LIMIT)), binaries=(bytes_of(LIMIT),)),
    "7.4.1-binary-one-over": Case(frame(BINARY, bytes_of(LIMIT + 1)), TOO_LARGE, close=1009),
    "7.4.1-fragments-that-sum-up-to-the-limit": Case(
        frame(TEXT, text_of(1_000), fin=False) + frame(CONT, text_of(LIMIT - 1_000)),
        ((TEXT, text_of(1_000) + text_of(LIMIT - 1_000)),),
    ),
    "7.4.1-fragments-that-sum-up-to-one-over": Case(
        frame(TEXT, text_of(1_000), fin=False) + frame(CONT, text_of(LIMIT - 999)),
        TOO_LARGE,
        close=1009,
    ),
    "7.4.1-an-unfinished-fragment-one-over": Case(
        frame(TEXT, text_of(LIMIT), fin=False) + frame(CONT, b"x", fin=False),
        TOO_LARGE,
        close=1009,
    ),
    "7.4.1-what-is-too-large-is-told-behind-the-pongs-that-were-due": Case(
        frame(PING, b"1") + frame(PING, b"2") + frame(TEXT, text_of(LIMIT + 1)),
        ((PONG, b"1"), (PONG, b"2"), *TOO_LARGE),
        close=1009,
    ),
    "7.4.1-a-ping-does-not-count-as-part-of-a-message": Case(
        frame(TEXT, text_of(LIMIT), fin=False) + frame(PING, b"p" * 125) + frame(CONT),
        ((PONG, b"p" * 125), (TEXT, text_of(LIMIT))),
    ),
}


@pytest.mark.parametrize("case", LIMIT_CASES.values(), ids=LIMIT_CASES)
def test_limits(narrow: Bench, case: Case) -> None:
    narrow.judge(case)


def test_what_follows_a_frame_too_large_is_never_read(narrow: Bench) -> None:
    async def scenario() -> None:
        raw, peer = await narrow.open()
        raw.send(frame(TEXT, text_of(LIMIT + 1)) + frame(TEXT, b"after") + close_frame(1000))
        assert await raw.frame() == TOO_LARGE[0]
        assert await raw.close_code() == 1009
        await asyncio.sleep(0)
        assert peer.texts == []

    narrow.run(scenario())
