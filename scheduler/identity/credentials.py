"""All that peers are checked against, as one value.

The supervisor reads the files, at the start and again on SIGHUP, and hands the outcome to the
gateways: so all of them go by the same, and one that is restarted goes by what was last good,
whatever has become of the files.
"""

import os

import msgspec
from msgspec import Struct


class TokenEntry(Struct, frozen=True):
    """A token that is good here. `digest` is its SHA-256; `expires_s`: since the epoch, 0 = never.

    See tokens.py.
    """

    name: str
    digest: bytes
    tenant: str = ""
    node_id: str = ""
    expires_s: int = 0


class JwtKey(Struct, frozen=True):
    """A key that verifies signed tokens. `material`: public key in PEM, or for HS256 the secret.

    See jwt_keys.py.
    """

    kid: str
    algorithm: str
    material: bytes


class TlsFiles(Struct, frozen=True):
    """Contents of PEM files; `client_ca` is empty where no client certificate is asked for."""

    cert: bytes
    key: bytes
    client_ca: bytes = b""


class Credentials(Struct, frozen=True):
    """What the files held that the settings name; None where they name none."""

    node_tokens: list[TokenEntry] | None = None
    session_tokens: list[TokenEntry] | None = None
    jwt_keys: list[JwtKey] | None = None
    tls: TlsFiles | None = None


def hand_over(credentials: Credentials) -> int:
    """Return a descriptor from which another process takes them; the caller closes it."""
    fd = os.memfd_create("credentials")
    with open(fd, "wb", closefd=False) as file:
        file.write(msgspec.msgpack.encode(credentials))
    return fd


def take_over(fd: int) -> Credentials:
    """Read what `hand_over` wrote, as several processes may. `fd` stays open."""
    # Not read(): they all share one position.
    return msgspec.msgpack.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=Credentials)
