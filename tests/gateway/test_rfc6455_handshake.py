"""RFC 6455 section 4: what opens a WebSocket, and the many requests that don't."""

import json

import pytest

from scheduler.gateway.handshake import HEAD_BYTES_MAX
from tests.gateway.rfc6455 import WRITES, Bench, Write, bench
from tests.gateway.sockets import CLOSE, PING, PONG, TEXT, frame, handshake

__all__ = ["bench"]

ACCEPT = b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
"""Belongs to the key that `handshake` sends, section 1.3."""


def replaced(old: str, new: str) -> bytes:
    """Return a good handshake with something else in the place of `old`."""
    good = handshake().decode()
    assert good.count(old) == 1
    return good.replace(old, new).encode("latin-1")


def added(*lines: str) -> bytes:
    """Return a good handshake with further header lines."""
    return replaced("\r\n\r\n", "".join(f"\r\n{line}" for line in lines) + "\r\n\r\n")


GOOD = {
    "4.1-the-example": handshake(),
    "4.1-a-query": handshake("/ws?a=1&b=%20"),
    "4.2.1-names-in-any-case": handshake()
    .lower()
    .replace(b"get /ws http", b"GET /ws HTTP")
    # But for the key, which is a value.
    .replace(b"dghlihnhbxbszsbub25jzq==", b"dGhlIHNhbXBsZSBub25jZQ=="),
    "4.2.1-upgrade-in-any-case": replaced("Upgrade: websocket", "Upgrade: WebSocket"),
    "4.2.1-connection-lists-further-options": replaced(
        "Connection: Upgrade", "Connection: keep-alive, Upgrade"
    ),
    "4.2.1-connection-in-two-lines": added("Connection: keep-alive"),
    "4.2.1-unknown-headers-are-ignored": added("X-Unknown: x", "Cookie: a=b", "Pragma: no-cache"),
    "4.2.1-header-values-need-not-be-ascii": added("X-Name: J\xfcrgen"),
    "4.2.1-an-empty-body-is-no-body": added("Content-Length: 0"),
    "4.2.2-an-origin-where-any-may-come": added("Origin: https://somewhere.example"),
    "4.2.2-subprotocols-are-declined": added("Sec-WebSocket-Protocol: chat, superchat"),
    **{
        f"9.1-extensions-are-declined-{n}": added(f"Sec-WebSocket-Extensions: {offer}")
        for n, offer in enumerate(
            (
                "permessage-deflate",
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                'permessage-deflate; server_max_window_bits="10", permessage-bzip2',
                "x-webkit-deflate-frame",
                "no such; grammar;;=",
                "x" * 4_000,
            )
        )
    },
}


@pytest.mark.parametrize("request_bytes", GOOD.values(), ids=GOOD)
def test_good_handshakes_are_accepted_without_extension_or_subprotocol(
    bench: Bench, request_bytes: bytes
) -> None:
    async def scenario(write: Write) -> None:
        raw = await bench.site.raw()
        await write(raw, request_bytes)
        head = await raw.response()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert ACCEPT in head
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert b"\r\nConnection: Upgrade\r\n" in head
        assert b"Sec-WebSocket-Extensions" not in head
        assert b"Sec-WebSocket-Protocol" not in head
        raw.send(frame(TEXT, b"hello") + frame(TEXT, b"deflated", reserved=4))
        assert await raw.frame() == (TEXT, b"hello")
        opcode, payload = await raw.frame()
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2, "big")), "5.2: nothing agreed"

    for write in WRITES:
        bench.run(scenario(write))


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
BAD: dict[str, tuple[bytes, int]] = {
    # The request line.
    **{
        f"4.1-method-{method}": (handshake(method=method), 405)
        for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "G")
    },
    "4.1-http-1.0": (replaced("HTTP/1.1", "HTTP/1.0"), 505),
    **{
        f"4.1-{version.replace('/', '-')}": (replaced("HTTP/1.1", version), 400)
        for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "http/1.1", "HTTPS/1.1", "X")
    },
    "4.1-no-version": (replaced(" HTTP/1.1", ""), 400),
    "4.1-two-spaces": (replaced("GET /ws", "GET  /ws"), 400),
    "4.1-tabs-for-spaces": (replaced("GET /ws", "GET\t/ws"), 400),
    "4.1-an-empty-line-first": (b"\r\n" + handshake(), 400),
    "4.1-other-path": (handshake("/other"), 404),
    "4.1-a-path-that-begins-like-ours": (handshake("/wss"), 404),
    "4.1-a-path-with-a-fragment": (handshake("/ws#x"), 404),
    "4.1-a-path-with-dots": (handshake("/x/../ws"), 404),
    "4.1-a-path-that-is-not-ascii": (replaced("/ws", "/w\xfc"), 400),
    "4.1-a-request-line-too-long": (handshake("/ws?" + "x" * 9_000), 431),
    # Host.
    "4.2.1-no-host": (handshake(Host=""), 400),
    "4.2.1-two-hosts": (added("Host: elsewhere.example"), 400),
    # Upgrade and Connection.
    "4.2.1-no-upgrade": (handshake(Upgrade=""), 426),
    "4.2.1-another-upgrade": (handshake(Upgrade="h2c"), 426),
    "4.2.1-an-empty-upgrade": (replaced("Upgrade: websocket", "Upgrade: "), 400),
    "4.2.1-no-connection": (handshake(Connection=""), 426),
    "4.2.1-connection-without-upgrade": (handshake(Connection="keep-alive"), 426),
    "4.2.1-connection-that-is-no-list": (handshake(Connection="Upgrade;;=\\"), 400),
    # Key.
    "4.2.1-no-key": (handshake(Sec_WebSocket_Key=""), 400),
    "4.2.1-two-keys": (added(KEY), 400),
    "4.2.1-two-unlike-keys": (added("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
    "4.2.1-an-empty-key": (replaced(KEY, "Sec-WebSocket-Key: "), 400),
    "4.2.1-a-key-of-15-bytes": (replaced(KEY, "Sec-WebSocket-Key: " + "A" * 20), 400),
    "4.2.1-a-key-of-17-bytes": (replaced(KEY, "Sec-WebSocket-Key: " + "A" * 23 + "="), 400),
    "4.2.1-a-key-without-padding": (replaced(KEY, KEY.rstrip("=")), 400),
    "4.2.1-a-key-that-is-not-base64": (replaced(KEY, "Sec-WebSocket-Key: " + "?" * 24), 400),
    "4.2.1-a-key-that-is-not-ascii": (replaced(KEY, KEY.replace("dG", "\xfc\xfc")), 400),
    "4.2.1-a-huge-key": (replaced(KEY, "Sec-WebSocket-Key: " + "A" * 8_000), 400),
    # Version.
    **{
        f"4.4-version-{version or 'empty'}": (
            replaced(VERSION, f"Sec-WebSocket-Version: {version}"),
            426,
        )
        for version in ("0", "7", "8", "12", "14", "255", "-13", "13.0", "13, 8", "", "x", "0x0d")
    },
    "4.4-no-version": (handshake(Sec_WebSocket_Version=""), 426),
    "4.4-two-versions": (added("Sec-WebSocket-Version: 8"), 426),
    # Header lines.
    "header-without-colon": (added("nonsense"), 400),
    "header-without-name": (added(": x"), 400),
    "header-name-with-a-space": (added("X Y: x"), 400),
    "header-with-a-space-before-the-colon": (added("Content-Length : 5"), 400),
    "header-name-with-control-characters": (added("X\x01: x"), 400),
    "header-name-that-is-not-ascii": (added("N\xe4me: x"), 400),
    "header-value-with-a-zero-byte": (added("X: a\0b"), 400),
    "header-value-with-a-bare-carriage-return": (added("X: a\rContent-Length: 5"), 400),
    "header-folded-over-two-lines": (added("X: a", " b"), 400),
    "header-lines-ended-by-line-feeds": (handshake().replace(b"\r\n", b"\n"), 400),
    "a-header-line-too-long": (added("X: " + "x" * 9_000), 431),
    "too-many-headers": (added(*(f"X{n}: x" for n in range(200))), 431),
    "too-much-in-all": (added(*(f"X{n}: " + "x" * 4_000 for n in range(5))), 431),
    "a-line-that-never-ends": (b"GET /" + b"x" * (HEAD_BYTES_MAX + 1), 431),
    # Bodies, and a second request in their clothes.
    "a-body": (added("Content-Length: 5") + b"hello", 400),
    "a-body-that-is-a-request": (
        added("Content-Length: 44") + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        400,
    ),
    "a-chunked-body": (added("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", 400),
    "two-lengths": (added("Content-Length: 0", "Content-Length: 5") + b"hello", 400),
    "length-and-chunks": (
        added("Content-Length: 0", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    **{
        f"length-{value}": (added(f"Content-Length: {value}"), 400)
        for value in ("-1", "+0", "0x0", "00", "0, 5", "1e1", "9" * 400)
    },
    # Other protocols.
    "http-2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
    "binary": (bytes(range(256)), 400),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_handshakes_are_refused_in_json_and_the_connection_ends(
    bench: Bench, name: str
) -> None:
    request, status = BAD[name]
    failed = bench.site.counters["handshakes_failed_total"]
    peers = len(bench.site.peers)

    async def scenario(write: Write) -> None:
        raw = await bench.site.raw()
        await write(raw, request + handshake())  # what follows is never served
        head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close" in head
        assert f"\r\nContent-Length: {len(body)}".encode() in head, "and nothing behind it"
        assert json.loads(body)["error"]
        versions = b"\r\nSec-WebSocket-Version: 13" in head
        assert versions == name.startswith("4.4"), "who speaks another version is told ours"

    for write in WRITES:
        bench.run(scenario(write))
    assert bench.site.counters["handshakes_failed_total"] == failed + len(WRITES)
    assert len(bench.site.peers) == peers


def test_frames_before_the_answer_are_answered_after_it(bench: Bench) -> None:
    async def scenario() -> None:
        raw = await bench.site.raw()
        raw.send(handshake() + frame(PING, b"early"))
        assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
        assert await raw.frame() == (PONG, b"early")

    bench.run(scenario())


def test_each_key_gets_its_own_accept(bench: Bench) -> None:
    async def scenario() -> None:
        accepts = set()
        for key in (
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "//////////////////////w==",
            "x3JJHMbDL1EzLkh9GBhXDw==",
        ):
            raw = await bench.site.raw()
            raw.send(handshake(Sec_WebSocket_Key=key))
            head = await raw.response()
            accepts.add(head.partition(b"Sec-WebSocket-Accept: ")[2].partition(b"\r\n")[0])
        assert len(accepts) == 3
        assert b"HSmrc0sMlYUkAGmm5OPpG2HaGWk=" in accepts, "as section 4.2.2 works it out"

    bench.run(scenario())
