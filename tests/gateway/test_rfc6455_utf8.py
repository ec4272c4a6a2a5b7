"""RFC 6455 section 8.1: text is UTF-8 as RFC 3629 defines it, however it is cut.

Text is judged when its message is whole, not at the first wrong byte: the RFC allows both.
"""

from collections.abc import Iterator

import pytest

from scheduler.gateway.inbound import Violation, _check_text
from tests.gateway.rfc6455 import CONT, Bench, Case, bench
from tests.gateway.sockets import PING, PONG, TEXT, frame

__all__ = ["bench"]

BEFORE, AFTER = "κόσμε".encode(), "ö".encode()
"""Valid text of two bytes a character around what is judged."""


# --- what RFC 3629 says -----------------------------------------------------------------------

TAIL = (0x80, 0xBF)
# The ABNF of its section 4: ranges of the bytes of one character.
CHARACTERS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0x00, 0x7F),),
    ((0xC2, 0xDF), TAIL),
    ((0xE0, 0xE0), (0xA0, 0xBF), TAIL),
    ((0xE1, 0xEC), TAIL, TAIL),
    ((0xED, 0xED), (0x80, 0x9F), TAIL),
    ((0xEE, 0xEF), TAIL, TAIL),
    ((0xF0, 0xF0), (0x90, 0xBF), TAIL, TAIL),
    ((0xF1, 0xF3), TAIL, TAIL, TAIL),
    ((0xF4, 0xF4), (0x80, 0x8F), TAIL, TAIL),
)


def is_utf8(data: bytes) -> bool:
    """Whether the ABNF derives `data`; nothing of Python's own decoder."""
    at = 0
    while at < len(data):
        for ranges in CHARACTERS:
            piece = data[at : at + len(ranges)]
            if len(piece) == len(ranges) and all(
                low <= byte <= high for byte, (low, high) in zip(piece, ranges, strict=True)
            ):
                at += len(ranges)
                break
        else:
            return False
    return True


def encoded(number: int, size: int) -> bytes:
    """Return a number in the pattern of `size` bytes, whether or not that is UTF-8."""
    tail = bytes(0x80 | number >> 6 * n & 0x3F for n in reversed(range(size - 1)))
    lead = (0, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC)[size - 1]
    return bytes((lead | number >> 6 * (size - 1),)) + tail


VALID = {
    **{
        f"U+{number:04X}": encoded(number, size)
        for size, numbers in {
            1: (0x00, 0x01, 0x41, 0x7E, 0x7F),
            2: (0x80, 0xFF, 0x7FF),
            3: (0x800, 0x20AC, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF),
            4: (0x10000, 0x1F600, 0x1FFFE, 0x1FFFF, 0xFFFFF, 0x100000, 0x10FFFE, 0x10FFFF),
        }.items()
        for number in numbers
    },
    "U+FEFF-byte-order-mark-is-text": b"\xef\xbb\xbf",
    "text-in-many-scripts": "Größe ñandú γλώσσα язык 言語 भाषा 🗣".encode(),
}

INVALID = {
    **{f"a-tail-byte-alone-{byte:02X}": bytes((byte,)) for byte in (0x80, 0x8F, 0xBF)},
    "many-tail-bytes-alone": bytes(range(0x80, 0xC0)),
    **{
        f"a-lead-byte-alone-{byte:02X}": bytes((byte, 0x20))
        for byte in (0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4)
    },
    **{
        f"{kept}-of-{size}-bytes-then-another-character": encoded(number, size)[:kept] + b"x"
        for size, number in ((3, 0x20AC), (4, 0x1F600))
        for kept in range(1, size)
    },
    **{
        f"{kept}-of-{size}-bytes-then-a-character-of-two": encoded(number, size)[:kept] + AFTER
        for size, number in ((2, 0xE9), (3, 0x20AC), (4, 0x1F600))
        for kept in range(1, size)
    },
    "one-tail-byte-too-many": encoded(0x20AC, 3) + b"\x80",
    **{
        f"U+{number:X}-in-{size}-bytes-is-overlong": encoded(number, size)
        for size, numbers in {
            2: (0x00, 0x2F, 0x7F),
            3: (0x00, 0x2F, 0x7FF),
            4: (0x00, 0x2F, 0xFFFF),
            5: (0x00, 0x2F, 0x1FFFFF),
            6: (0x00, 0x2F, 0x3FFFFFF),
        }.items()
        for number in numbers
    },
    **{
        f"surrogate-U+{number:X}": encoded(number, 3)
        for number in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
    },
    **{
        f"surrogates-U+{high:X}-U+{low:X}": encoded(high, 3) + encoded(low, 3)
        for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
        for low in (0xDC00, 0xDFFF)
    },
    **{
        f"U+{number:X}-is-above-10FFFF": encoded(number, size)
        for number, size in (
            (0x110000, 4),
            (0x1FFFFF, 4),
            (0x200000, 5),
            (0x3FFFFFF, 5),
            (0x4000000, 6),
            (0x7FFFFFFF, 6),
        )
    },
    **{f"{byte:02X}-is-never-used": bytes((byte,)) for byte in (0xC0, 0xC1, 0xF5, 0xFE, 0xFF)},
    "FE-FE-FF-FF": b"\xfe\xfe\xff\xff",
    "latin-1": b"gr\xfc\xdfe",
    "utf-16": "text".encode("utf-16"),
}


def test_the_samples_are_what_the_rfc_says() -> None:
    assert all(is_utf8(BEFORE + sample + AFTER) for sample in VALID.values())
    assert not any(is_utf8(BEFORE + sample + AFTER) for sample in INVALID.values())


# --- whole, and cut at every place ------------------------------------------------------------


def in_fragments(text: bytes) -> bytes:
    """Return the message in fragments of one byte, a ping between any two."""
    last = len(text) - 1
    return b"".join(
        frame(CONT if index else TEXT, bytes((byte,)), fin=index == last)
        + (frame(PING) if index < last else b"")
        for index, byte in enumerate(text)
    )


@pytest.mark.parametrize("sample", VALID.values(), ids=[f"8.1-valid-{name}" for name in VALID])
def test_valid_text_arrives(bench: Bench, sample: bytes) -> None:
    text = BEFORE + sample + AFTER
    bench.judge(Case(frame(TEXT, sample) + frame(TEXT, text), ((TEXT, sample), (TEXT, text))))


@pytest.mark.parametrize("sample", VALID.values(), ids=[f"8.1-valid-{name}" for name in VALID])
def test_valid_text_arrives_in_fragments_of_a_byte(bench: Bench, sample: bytes) -> None:
    text = BEFORE + sample + AFTER
    pongs = ((PONG, b""),) * (len(text) - 1)
    bench.judge(Case(in_fragments(text), (*pongs, (TEXT, text))))


@pytest.mark.parametrize(
    "sample", INVALID.values(), ids=[f"8.1-invalid-{name}" for name in INVALID]
)
def test_invalid_text_fails_the_connection(bench: Bench, sample: bytes) -> None:
    text = BEFORE + sample + AFTER
    bench.judge(
        Case(frame(TEXT, BEFORE) + frame(TEXT, text) + frame(TEXT, AFTER), ((TEXT, BEFORE),), 1007)
    )


@pytest.mark.parametrize(
    "sample", INVALID.values(), ids=[f"8.1-invalid-{name}" for name in INVALID]
)
def test_invalid_text_fails_the_connection_in_fragments_of_a_byte(
    bench: Bench, sample: bytes
) -> None:
    text = BEFORE + sample + AFTER
    bench.judge(Case(in_fragments(text), ((PONG, b""),) * (len(text) - 1), close=1007))


CUT_OFF = {
    f"{kept}-of-{len(character)}-bytes": character[:kept]
    for character in (b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80")
    for kept in range(1, len(character))
}


@pytest.mark.parametrize("piece", CUT_OFF.values(), ids=[f"8.1-cut-off-{n}" for n in CUT_OFF])
def test_a_character_cut_off_by_the_end_of_the_message_fails_the_connection(
    bench: Bench, piece: bytes
) -> None:
    bench.judge(Case(frame(TEXT, b"x" + piece), close=1007))
    bench.judge(
        Case(frame(TEXT, b"x", fin=False) + frame(CONT, piece, fin=False) + frame(CONT), close=1007)
    )


def test_messages_do_not_complete_each_others_characters(bench: Bench) -> None:
    bench.judge(Case(frame(TEXT, b"\xc3") + frame(TEXT, b"\xa9"), close=1007))


def test_binary_messages_need_not_be_utf8(bench: Bench) -> None:
    bench.judge(Case(frame(2, b"\xff\xfe\xc0"), binaries=(b"\xff\xfe\xc0",)))


# --- against the ABNF -------------------------------------------------------------------------


def accepts(text: bytes) -> bool:
    try:
        _check_text(text)
    except Violation:
        return False
    return True


def edges() -> Iterator[int]:
    """Yield the bytes next to each border of a range in the ABNF."""
    borders = {border for ranges in CHARACTERS for low, high in ranges for border in (low, high)}
    near = {border + step for border in borders for step in (-1, 0, 1)}
    yield from sorted(byte for byte in near if 0 <= byte <= 0xFF)


def test_every_pair_of_bytes_is_judged_as_the_abnf_does() -> None:
    for first in range(256):
        for second in range(256):
            pair = bytes((first, second))
            assert accepts(pair) == is_utf8(pair), pair.hex()


def test_every_three_and_four_bytes_on_the_borders_are_judged_as_the_abnf_does() -> None:
    leads = [byte for byte in edges() if byte >= 0xC0]
    tails = [byte for byte in edges() if 0x7F <= byte <= 0xC2]
    for lead in leads:
        for second in tails:
            for third in (0x7F, 0x80, 0xBF, 0xC0):
                three = bytes((lead, second, third))
                assert accepts(three) == is_utf8(three), three.hex()
                for fourth in (0x7F, 0x80, 0xBF, 0xC0):
                    four = bytes((*three, fourth))
                    assert accepts(four) == is_utf8(four), four.hex()
