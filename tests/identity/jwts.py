"""Signed tokens for tests, made without the library that checks them: forged ones as well."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://login.example", "lingua"

Sign = Callable[[bytes], bytes]


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assemble(header: Any, claims: Any, sign: Sign) -> str:
    """Return a compact token; `header` and `claims` may be bytes that are no JSON."""
    parts = [
        encode(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (header, claims)
    ]
    signed = ".".join(parts)
    return f"{signed}.{encode(sign(signed.encode()))}"


def hs256(secret: bytes) -> Sign:
    return lambda data: hmac.digest(secret, data, hashlib.sha256)


def unsigned(_: bytes) -> bytes:
    return b""


def claims(**more: Any) -> dict[str, Any]:
    """Return good claims, with `more` laid over them; None leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "nbf": now - 5, **more}
    return {name: value for name, value in good.items() if value is not None}


class Ed25519Issuer:
    """Signs with a key pair of its own."""

    def __init__(self, kid: str = "ed") -> None:
        self.kid = kid
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key()
        self.public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def token(self, header: dict[str, Any] | None = None, **more: Any) -> str:
        """Return a token with good claims but for `more`."""
        head = {"alg": "EdDSA", "typ": "JWT", "kid": self.kid, **(header or {})}
        return assemble(head, claims(**more), self.sign)
