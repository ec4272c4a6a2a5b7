"""RFC 6455 section 5.4: fragmented messages, and every order of up to three data frames."""

from itertools import product

import pytest

from tests.gateway.rfc6455 import CONT, Bench, Case, Frame, bench
from tests.gateway.sockets import BINARY, PING, PONG, TEXT, close_frame, frame

__all__ = ["bench"]


def message(opcode: int, *pieces: bytes) -> bytes:
    """Return a message whose fragments are `pieces`."""
    last = len(pieces) - 1
    return b"".join(
        frame(CONT if index else opcode, piece, fin=index == last)
        for index, piece in enumerate(pieces)
    )


LARGE = bytes(0x20 + n % 95 for n in range(65_536))
MEBIBYTE = bytes(range(256)) * 4_096
CASES = {
    "two-text-fragments": Case(message(TEXT, b"ab", b"cd"), ((TEXT, b"abcd"),)),
    "two-binary-fragments": Case(
        message(BINARY, b"\xff\x00", b"\xfe"), binaries=(b"\xff\x00\xfe",)
    ),
    "fragments-of-one-byte": Case(
        message(TEXT, *(bytes((byte,)) for byte in b"one at a time")), ((TEXT, b"one at a time"),)
    ),
    "a-large-message-in-fragments-of-256-bytes": Case(
        message(TEXT, *(LARGE[at : at + 256] for at in range(0, len(LARGE), 256))),
        ((TEXT, LARGE),),
    ),
    "a-large-message-in-fragments-of-1300-bytes": Case(
        message(TEXT, *(LARGE[at : at + 1_300] for at in range(0, len(LARGE), 1_300))),
        ((TEXT, LARGE),),
    ),
    "a-mebibyte-in-fragments-of-1300-bytes": Case(
        message(BINARY, *(MEBIBYTE[at : at + 1_300] for at in range(0, len(MEBIBYTE), 1_300))),
        binaries=(MEBIBYTE,),
    ),
    "fragments-of-unlike-sizes": Case(
        message(TEXT, LARGE[:1], LARGE[1:126], LARGE[126:20_000], LARGE[20_000:]), ((TEXT, LARGE),)
    ),
    "an-empty-first-fragment": Case(message(TEXT, b"", b"x"), ((TEXT, b"x"),)),
    "an-empty-middle-fragment": Case(message(TEXT, b"x", b"", b"y"), ((TEXT, b"xy"),)),
    "an-empty-last-fragment": Case(message(TEXT, b"x", b""), ((TEXT, b"x"),)),
    "nothing-but-empty-fragments": Case(message(TEXT, b"", b"", b""), ((TEXT, b""),)),
    "nothing-but-empty-binary-fragments": Case(message(BINARY, b"", b"", b""), binaries=(b"",)),
    "messages-whole-and-fragmented-in-turn": Case(
        (message(TEXT, b"a", b"b") + frame(TEXT, b"c") + message(TEXT, b"d", b"e", b"f")) * 3,
        ((TEXT, b"ab"), (TEXT, b"c"), (TEXT, b"def")) * 3,
    ),
    "text-and-binary-in-turn": Case(
        message(BINARY, b"1", b"2") + message(TEXT, b"a", b"b") + message(BINARY, b"3", b"4"),
        ((TEXT, b"ab"),),
        binaries=(b"12", b"34"),
    ),
    "thousands-of-fragments": Case(message(TEXT, *(b"x",) * 3_000), ((TEXT, b"x" * 3_000),)),
    "a-message-that-never-ends-leaves-pings-answered": Case(
        frame(TEXT, b"x", fin=False) + frame(PING, b"p"), ((PONG, b"p"),)
    ),
    "a-continuation-after-a-message-that-has-ended": Case(
        message(TEXT, b"a", b"b") + frame(CONT, b"c"), ((TEXT, b"ab"),), close=1002
    ),
    "an-unfinished-continuation-after-a-message-that-has-ended": Case(
        message(TEXT, b"a", b"b") + frame(CONT, b"c", fin=False), ((TEXT, b"ab"),), close=1002
    ),
    "the-next-message-begins-before-the-last-fragment": Case(
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(TEXT, b"c"), close=1002
    ),
    # The one exception: an endpoint may well answer this close with 1000. Here the connection
    # fails, because a message was cut off; nothing but the code differs.
    "exception-a-close-inside-a-message-fails-the-connection": Case(
        frame(TEXT, b"a", fin=False) + close_frame(1000) + frame(CONT, b"b"), close=1002
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=[f"5.4-{name}" for name in CASES])
def test_fragments(bench: Bench, case: Case) -> None:
    bench.judge(case)


# --- all orders -------------------------------------------------------------------------------

OPCODES = {"T": TEXT, "B": BINARY, "C": CONT}
"""Upper case ends a message, lower case has more to come."""


def case_of(letters: str) -> Case:
    """Return the case of these frames, judged by the rules of section 5.4 alone."""
    sent, replies, binaries, close = b"", [], [], None
    open_opcode, open_payload = -1, b""
    for index, letter in enumerate(letters):
        opcode, fin, payload = OPCODES[letter.upper()], letter.isupper(), b"%d" % index
        sent += frame(opcode, payload, fin=fin)
        if close is None and (opcode == CONT) != (open_opcode >= 0):
            close = 1002
        if close is not None:
            continue
        open_opcode = opcode if opcode != CONT else open_opcode
        open_payload += payload
        if fin and open_opcode == TEXT:
            replies.append((TEXT, open_payload))
        elif fin:
            binaries.append(open_payload)
        if fin:
            open_opcode, open_payload = -1, b""
    return Case(sent, tuple[Frame, ...](replies), close, tuple(binaries))


ORDERS = ["".join(letters) for count in (1, 2, 3) for letters in product("TtBbCc", repeat=count)]


@pytest.mark.parametrize("letters", ORDERS)
def test_every_order_of_up_to_three_data_frames(bench: Bench, letters: str) -> None:
    bench.judge(case_of(letters))


def test_the_orders_hold_legal_and_illegal_ones() -> None:
    cases = [case_of(letters) for letters in ORDERS]
    assert len(cases) == 6 + 36 + 216
    # From between messages four frames may come, inside one two.
    assert sum(case.close is None for case in cases) == 4 + 12 + 36
