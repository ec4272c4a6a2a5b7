"""RFC 6455 sections 5.5.1 and 7: the closing handshake, its codes and its reason."""

import struct

import pytest

from tests.gateway.rfc6455 import CONT, WRITES, Bench, Case, bench
from tests.gateway.sockets import BINARY, CLOSE, PING, TEXT, close_frame, frame

__all__ = ["bench"]

# Section 7.4.1, the ranges of 7.4.2, and what IANA has registered since.
VALID_CODES = (
    *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
    *(3000, 3001, 3999, 4000, 4001, 4999),
)
INVALID_CODES = (
    *(0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999),
    *(5000, 5001, 32_767, 65_535),
)
REASON = "Auf Wiederhören 🗣".encode()


@pytest.mark.parametrize("code", VALID_CODES, ids="7.4-valid-code-{}".format)
@pytest.mark.parametrize("reason", [b"", b"bye", REASON], ids=["alone", "reason", "utf8-reason"])
def test_a_valid_code_is_sent_back(bench: Bench, code: int, reason: bytes) -> None:
    bench.judge(Case(frame(TEXT, b"last") + close_frame(code, reason), ((TEXT, b"last"),), code))


@pytest.mark.parametrize("code", INVALID_CODES, ids="7.4-invalid-code-{}".format)
@pytest.mark.parametrize("reason", [b"", b"bye"], ids=["alone", "reason"])
def test_an_invalid_code_fails_the_connection(bench: Bench, code: int, reason: bytes) -> None:
    bench.judge(Case(frame(TEXT, b"last") + close_frame(code, reason), ((TEXT, b"last"),), 1002))


PAYLOADS = {
    "5.5.1-a-payload-of-one-byte-is-no-code": Case(frame(CLOSE, b"\x03"), close=1002),
    "5.5-a-reason-of-123-bytes-is-the-longest": Case(close_frame(1000, b"*" * 123), close=1000),
    "5.5-a-reason-of-124-bytes-is-too-long": Case(close_frame(1000, b"*" * 124), close=1002),
    "5.5-a-close-of-65536-bytes-is-too-long": Case(close_frame(1000, b"*" * 65_534), close=1002),
    "5.5-a-fragmented-close": Case(
        frame(CLOSE, struct.pack("!H", 1000), fin=False) + frame(CONT), close=1002
    ),
    "8.1-a-reason-that-is-not-utf8": Case(close_frame(1000, b"\xce\xba\xff"), close=1007),
    "8.1-a-reason-with-a-surrogate": Case(close_frame(1000, b"\xed\xa0\x80"), close=1007),
    "8.1-a-reason-cut-inside-a-character": Case(
        close_frame(1000, b"*" * 122 + b"\xc3"), close=1007
    ),
}


@pytest.mark.parametrize("case", PAYLOADS.values(), ids=PAYLOADS)
def test_payloads_of_a_close(bench: Bench, case: Case) -> None:
    bench.judge(case)


LATE = {
    "a-text": frame(TEXT, b"late"),
    "a-binary": frame(BINARY, b"late"),
    "a-ping": frame(PING, b"late"),
    "a-second-close": close_frame(1001, b"late"),
    "a-fragment": frame(TEXT, b"late", fin=False),
    "what-is-no-frame": b"\xff" * 50,
    "large-messages": frame(TEXT, b"late" * 25_000) * 3,
}


@pytest.mark.parametrize("late", LATE.values(), ids=[f"1.4-{name}-after-close" for name in LATE])
def test_what_follows_a_close_is_dropped(bench: Bench, late: bytes) -> None:
    bench.judge(Case(frame(TEXT, b"last") + close_frame(1000) + late, ((TEXT, b"last"),), 1000))


@pytest.mark.parametrize(
    "late", LATE.values(), ids=[f"7.1.7-{name}-after-an-error" for name in LATE]
)
def test_what_follows_an_error_is_dropped(bench: Bench, late: bytes) -> None:
    bench.judge(Case(frame(TEXT, b"last") + frame(3) + late, ((TEXT, b"last"),), 1002))


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_close_without_code_gets_one_without_code(bench: Bench, write: object) -> None:
    assert callable(write)

    async def scenario() -> None:
        raw, peer = await bench.open()
        await write(raw, frame(CLOSE))
        assert await raw.frame() == (CLOSE, b"")
        assert await raw.rest() == b""
        assert peer.texts == []

    bench.run(scenario())


@pytest.mark.parametrize("reason", [b"", b"bye", REASON, b"*" * 123])
def test_the_reason_is_sent_back_with_the_code(bench: Bench, reason: bytes) -> None:
    async def scenario() -> None:
        raw, _ = await bench.open()
        raw.send(close_frame(4321, reason))
        assert await raw.frame() == (CLOSE, struct.pack("!H", 4321) + reason)
        assert await raw.rest() == b""

    bench.run(scenario())


# --- our close --------------------------------------------------------------------------------


def test_a_client_that_answers_our_close_is_let_go(bench: Bench) -> None:
    async def scenario() -> None:
        raw, peer = await bench.open()
        peer.connection.close(1001, "going away")
        assert await raw.frame() == (CLOSE, struct.pack("!H", 1001) + b"going away")
        raw.send(close_frame(1001))
        assert await raw.rest() == b"", "the server closes the socket first, section 7.1.1"

    bench.run(scenario())


def test_closes_that_cross_end_the_connection(bench: Bench) -> None:
    async def scenario() -> None:
        raw, peer = await bench.open()
        raw.send(close_frame(3000))
        peer.connection.close(1012, "restart")  # before the other was read
        assert (await raw.frame())[1][:2] == struct.pack("!H", 1012)
        assert await raw.rest() == b""

    bench.run(scenario())


@pytest.mark.parametrize("name", LATE, ids="5.5.1-{}-after-our-close".format)
def test_what_a_client_sends_before_it_answers_our_close_is_dropped(
    bench: Bench, name: str
) -> None:
    async def scenario() -> None:
        raw, peer = await bench.open()
        peer.connection.close(1000, "")
        raw.send(LATE[name] + close_frame(1000))
        assert await raw.frame() == (CLOSE, struct.pack("!H", 1000))
        # Section 5.5.2 asks for pongs until the other's close has come.
        assert await raw.rest() == (b"\x8a\x04late" if name == "a-ping" else b"")
        assert (peer.texts, peer.binaries) == ([], [])

    bench.run(scenario())
