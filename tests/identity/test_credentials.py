"""Credentials on their way from the supervisor to the gateways."""

import os

import msgspec

from scheduler.identity.credentials import (
    Credentials,
    JwtKey,
    TlsFiles,
    TokenEntry,
    hand_over,
    take_over,
)

ALL = Credentials(
    node_tokens=[TokenEntry("n", bytes(32), node_id="node-7", expires_s=5)],
    session_tokens=[TokenEntry("s", bytes(range(32)), tenant="acme")],
    jwt_keys=[JwtKey("k", "HS256", b"\xff" * 32)],
    tls=TlsFiles(b"cert", b"key", b"ca"),
)


def test_several_take_over_the_same() -> None:
    large = msgspec.structs.replace(ALL, tls=TlsFiles(b"c" * 3_000_000, b"key"))
    for credentials in (Credentials(), ALL, large):
        fd = hand_over(credentials)
        try:
            assert take_over(fd) == credentials
            assert take_over(fd) == credentials
            assert not os.get_inheritable(fd)
        finally:
            os.close(fd)


def test_they_travel_in_a_boot_document() -> None:
    assert msgspec.json.decode(msgspec.json.encode(ALL), type=Credentials) == ALL
