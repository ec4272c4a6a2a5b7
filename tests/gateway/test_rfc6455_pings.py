"""RFC 6455 sections 5.5.2 and 5.5.3: pings are answered with their payload, pongs are not."""

import pytest

from tests.gateway.rfc6455 import CONT, Bench, Case, bench
from tests.gateway.sockets import BINARY, PING, PONG, TEXT, frame

__all__ = ["bench"]

ANY_BYTES = bytes(n * 11 % 256 for n in range(125))


def pings(*payloads: bytes) -> bytes:
    return b"".join(frame(PING, payload) for payload in payloads)


CASES = {
    "5.5.2-a-ping-without-payload-gets-an-empty-pong": Case(frame(PING), ((PONG, b""),)),
    "5.5.2-a-ping-of-text-gets-it-back": Case(
        frame(PING, b"Hello, world!"), ((PONG, b"Hello, world!"),)
    ),
    "5.5.2-a-ping-of-bytes-that-are-no-utf8-gets-them-back": Case(
        frame(PING, b"\x00\xff\xfe\xfd\x00\xff"), ((PONG, b"\x00\xff\xfe\xfd\x00\xff"),)
    ),
    "5.5.2-each-length-from-0-to-125-is-echoed": Case(
        pings(*(ANY_BYTES[:length] for length in range(126))),
        tuple((PONG, ANY_BYTES[:length]) for length in range(126)),
    ),
    "5.5.2-pings-in-a-row-are-answered-in-order": Case(
        pings(*(b"%d" % n for n in range(10))), tuple((PONG, b"%d" % n) for n in range(10))
    ),
    "5.5.2-a-pong-goes-ahead-of-the-answer-to-the-message-around-its-ping": Case(
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b"),
        ((PONG, b"p"), (TEXT, b"ab")),
    ),
    "5.5-a-ping-of-126-bytes-fails-the-connection": Case(frame(PING, b"x" * 126), close=1002),
    "5.5-a-ping-of-65536-bytes-fails-the-connection": Case(frame(PING, b"x" * 65_536), close=1002),
    "5.5-a-pong-of-126-bytes-fails-the-connection": Case(frame(PONG, b"x" * 126), close=1002),
    "5.5-a-fragmented-ping-fails-the-connection": Case(
        frame(PING, b"x", fin=False) + frame(CONT, b"y"), close=1002
    ),
    "5.5-a-fragmented-pong-fails-the-connection": Case(
        frame(PONG, b"x", fin=False) + frame(CONT, b"y"), close=1002
    ),
    "5.5.3-an-unasked-pong-is-not-answered": Case(frame(PONG)),
    "5.5.3-an-unasked-pong-with-payload-is-not-answered": Case(frame(PONG, b"unasked")),
    "5.5.3-many-unasked-pongs-between-pings": Case(
        (frame(PONG, b"q") * 5 + frame(PING, b"p")) * 5, ((PONG, b"p"),) * 5
    ),
    "5.4-pings-between-all-fragments-of-a-message": Case(
        frame(TEXT, b"1", fin=False)
        + b"".join(frame(PING, b"p") + frame(CONT, b"%d" % n, fin=False) for n in range(2, 6))
        + frame(CONT, b"6"),
        (*((PONG, b"p"),) * 4, (TEXT, b"123456")),
    ),
    "5.4-a-pong-between-fragments": Case(
        frame(BINARY, b"1", fin=False) + frame(PONG, b"p") + frame(CONT, b"2"), binaries=(b"12",)
    ),
    "5.4-a-ping-of-126-bytes-between-fragments-fails-the-connection": Case(
        frame(TEXT, b"1", fin=False) + frame(PING, b"x" * 126) + frame(CONT, b"2"), close=1002
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pings_and_pongs(bench: Bench, case: Case) -> None:
    bench.judge(case)
