"""Requests on the public port: which open a WebSocket, which are answered, which refused."""

import json
import re
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from scheduler.gateway.handshake import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    RETRY_AFTER_SECONDS,
    Accepted,
    Entrance,
    Handshake,
    HttpResponse,
    Outcome,
    Refused,
    Room,
    Served,
)
from tests.gateway.sockets import LOOPS, TEXT, frame, handshake, run_on, serve, until

ENTRANCE = Entrance(
    {"/ws"}, {"/health": lambda: HttpResponse(200, "text/plain", b"OK")}, frozenset()
)


def receive(
    data: bytes, *, entrance: Entrance = ENTRANCE, room: Room = Room.FREE
) -> Outcome | None:
    return Handshake(entrance).receive(data, room=room)


def status(outcome: Outcome | None) -> int:
    assert outcome is not None
    return int(outcome.reply.split(b" ", 2)[1])


def test_a_websocket_is_accepted_with_the_key_of_the_rfc() -> None:
    outcome = receive(handshake("/ws?token=x", Authorization="secret"))
    assert isinstance(outcome, Accepted)
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in outcome.reply
    assert (outcome.path, outcome.rest) == ("/ws", b"")


TOKENS = Entrance({"/ws"}, {}, frozenset(), reads_tokens=True)

BEARERS = {
    "none": ([], None),
    "one": (["Bearer a.b-c_d"], "a.b-c_d"),
    "in any case, with any space": (["bEARER   x \t"], "x"),
    "of another scheme": (["Basic dXNlcjpwYXNz"], None),
    "beside another scheme": (["Basic dXNlcjpwYXNz", "Bearer x"], "x"),
    "without a token": (["Bearer"], ""),
    "two": (["Bearer x", "Bearer x"], ""),
}


def with_authorization(*values: str) -> bytes:
    lines = "".join(f"Authorization: {value}\r\n" for value in values).encode("latin-1")
    return handshake().replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n")


def bearer(request: bytes, entrance: Entrance = TOKENS) -> str | None:
    outcome = receive(request, entrance=entrance)
    assert isinstance(outcome, Accepted)
    return outcome.bearer


@pytest.mark.parametrize(("values", "expected"), BEARERS.values(), ids=BEARERS)
def test_the_token_of_the_authorization_header(values: list[str], expected: str | None) -> None:
    request = with_authorization(*values)
    assert bearer(request) == expected
    assert bearer(request, ENTRANCE) is None, "nobody asked for it"


def test_a_token_of_other_bytes_is_none_of_ours() -> None:
    shown = bearer(with_authorization("Bearer \xff\xfe"))
    assert shown is not None
    assert not shown.isascii()


@given(st.integers(0, 300), st.binary(max_size=40))
def test_a_request_may_come_in_any_two_pieces(cut: int, rest: bytes) -> None:
    data = handshake() + rest
    reader = Handshake(ENTRANCE)
    outcome = reader.receive(data[:cut], room=Room.FREE)
    if outcome is None:
        outcome = reader.receive(data[cut:], room=Room.FREE)
        cut = len(data)
    assert isinstance(outcome, Accepted)
    assert outcome.rest + data[cut:] == rest


@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_refused_or_incomplete(data: bytes) -> None:
    outcome = receive(data)
    assert outcome is None or (isinstance(outcome, Refused) and status(outcome) == 400)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_responder_answers(method: str) -> None:
    outcome = receive(f"{method} /health?x HTTP/1.0\r\n\r\n".encode(), room=Room.FULL)
    assert isinstance(outcome, Served)
    head, _, body = outcome.reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 2\r\n" in head
    assert b"\r\nContent-Type: text/plain\r\n" in head
    assert b"\r\nConnection: close" in head
    assert body == (b"OK" if method == "GET" else b"")


ORIGINS = Entrance({"/ws"}, {}, frozenset({"https://app.example"}))

REFUSED = {
    "unknown path": (handshake("/ws/"), 404),
    "plain GET": (handshake(Upgrade="", Connection=""), 426),
    "plain GET elsewhere": (b"GET / HTTP/1.1\r\n\r\n", 404),
    "POST": (handshake(method="POST"), 405),
    "POST /health": (handshake("/health", "POST"), 405),
    "POST with a body": (handshake(method="POST", Content_Length="3") + b"abc", 400),
    "chunked": (handshake(Transfer_Encoding="chunked"), 400),
    "HEAD of a WebSocket": (handshake(method="HEAD"), 405),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
    "bare line feeds": (handshake().replace(b"\r\n", b"\n"), 400),
    "header without colon": (b"GET /ws HTTP/1.1\r\nnonsense\r\n\r\n", 400),
    "no key": (handshake(Sec_WebSocket_Key=""), 400),
    "short key": (handshake(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "old version": (handshake(Sec_WebSocket_Version="8"), 426),
    "no Host": (handshake(Host=""), 400),
    "two Hosts": (handshake(Host="localhost\r\nHost: elsewhere"), 400),
    "long line": (handshake(X="x" * 9_000), 431),
    "long path": (handshake("/" + "x" * 9_000), 431),
    "many headers": (handshake(**{f"X{n}": "x" for n in range(200)}), 431),
    "large in all": (handshake(**{f"X{n}": "x" * 4_000 for n in range(5)}), 431),
}


@pytest.mark.parametrize(("data", "expected"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_why_in_json(data: bytes, expected: int) -> None:
    outcome = receive(data)
    assert isinstance(outcome, Refused)
    assert status(outcome) == expected
    head, _, body = outcome.reply.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert b"\r\nConnection: close" in head
    assert (b"\r\nAllow: " in head) == (expected == 405)
    assert (b"\r\nUpgrade: websocket" in head) == (expected == 426)


def test_a_line_without_end_is_refused() -> None:
    reader = Handshake(ENTRANCE)
    for _ in range(HEAD_BYTES_MAX // 1_000 + 1):
        outcome = reader.receive(b"x" * 1_000, room=Room.FREE)
        if outcome is not None:
            break
    assert status(outcome) == 431


def test_so_many_headers_are_taken_and_no_more() -> None:
    plain = handshake()
    few = plain.count(b"\r\n") - 2
    for more, expected in ((HEADERS_MAX - few, 101), (HEADERS_MAX - few + 1, 431)):
        added = b"".join(b"X%d: x\r\n" % number for number in range(more))
        assert status(receive(plain[:-2] + added + b"\r\n")) == expected


def test_a_full_gateway_asks_to_come_again() -> None:
    outcome = receive(handshake(), room=Room.FULL)
    assert isinstance(outcome, Refused)
    assert status(outcome) == HTTPStatus.SERVICE_UNAVAILABLE
    assert outcome.code == "SERVER_BUSY"
    assert _retry_after(outcome) in RETRY_AFTER_SECONDS


def test_an_address_with_too_many_sockets_is_asked_to_come_again() -> None:
    outcome = receive(handshake(), room=Room.ADDRESS_FULL)
    assert isinstance(outcome, Refused)
    assert status(outcome) == HTTPStatus.TOO_MANY_REQUESTS
    assert outcome.code == "RATE_LIMITED"
    assert _retry_after(outcome) in RETRY_AFTER_SECONDS
    head, _, body = outcome.reply.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert "address" in json.loads(body)["error"]


@pytest.mark.parametrize("room", Room)
def test_what_is_wrong_with_a_request_goes_before_the_want_of_room(room: Room) -> None:
    assert status(receive(handshake("/other"), room=room)) == 404
    assert status(receive(handshake("/health"), room=room)) == 200


def test_not_all_are_asked_to_come_again_at_once() -> None:
    outcomes = [receive(handshake(), room=Room.FULL) for _ in range(100)]
    waits = {_retry_after(outcome) for outcome in outcomes if isinstance(outcome, Refused)}
    assert len(waits) > 1


def _retry_after(outcome: Refused) -> int:
    found = re.search(rb"\r\nRetry-After: ([0-9]+)\r\n", outcome.reply)
    assert found
    return int(found[1])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (handshake(Origin="https://app.example"), 101),
        (handshake(), 101),  # no browser
        (handshake(Origin="https://evil.example"), 403),
        (handshake(Origin="https://app.example.evil.example"), 403),
        (handshake(Origin="null"), 403),
        (handshake(Origin="https://app.example\r\nOrigin: https://evil.example"), 403),
    ],
)
def test_browsers_connect_from_allowed_origins_only(data: bytes, expected: int) -> None:
    assert status(receive(data, entrance=ORIGINS)) == expected


@pytest.mark.parametrize("loop", LOOPS)
def test_plain_requests_over_a_socket(loop: str) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            for request, expected in (
                (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
                (b"POST /ws HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 400 "),
                (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
            ):
                raw = await site.raw()
                raw.send(request)
                assert (await raw.rest()).startswith(expected)
                await raw.close()
            await until(lambda: len(site.listener) == 0)
            assert site.counters["handshakes_failed_total"] == 2
            assert not site.peers

    run_on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answered_client_that_stays_is_cut_off(loop: str) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=0.1) as site:
            raw = await site.raw()
            raw.send(b"GET /health HTTP/1.1\r\n\r\n")
            await raw.response()
            raw.send(b"x" * 100_000)
            await until(lambda: len(site.listener) == 0)

    run_on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_frames_sent_with_the_handshake_are_answered_after_it(loop: str) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw()
            raw.send(handshake() + frame(9, b"ping") + frame(TEXT, b"text"))
            assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
            assert {await raw.frame(), await raw.frame()} == {(10, b"ping"), (TEXT, b"text")}

    run_on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_leaves_before_the_handshake_is_counted(loop: str) -> None:
    async def scenario() -> None:
        async with serve() as site:
            for ending in ("close", "half-close"):
                raw = await site.raw()
                raw.send(b"GET /ws HT")
                if ending == "half-close":
                    raw.writer.write_eof()
                    assert await raw.rest() == b""
                await raw.close()
            await until(lambda: site.counters["handshakes_failed_total"] == 2)

    run_on(loop, scenario)


def test_a_client_sees_the_origin_check() -> None:
    async def scenario() -> None:
        async with serve(origins=frozenset({"https://app.example"})) as site:
            origin = {"Origin": "https://app.example"}
            async with connect(site.url, additional_headers=origin) as client:
                await client.send("x")
                assert await client.recv() == "x"
            raw = await site.raw()
            raw.send(handshake(Origin="https://evil.example"))
            assert (await raw.response()).startswith(b"HTTP/1.1 403 ")

    run_on("uvloop", scenario)
