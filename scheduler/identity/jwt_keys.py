"""The keys that verify signed session tokens: which algorithm each is for says the operator.

# kid      algorithm  file, from this one's folder
2026-11    EdDSA      2026-11.pem
backend    HS256      backend.secret
"""

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from scheduler.identity.credentials import JwtKey
from scheduler.identity.entries import Entry, read_entries, read_file

ALGORITHMS = ("EdDSA", "ES256", "RS256", "HS256")
SECRET_BYTES_MIN = 32
"""RFC 7518, section 3.2: as long as the hash."""
RSA_BITS_MIN = 2_048
"""RFC 7518, section 3.3."""

KID_CHARS_MAX = 128

_FORM = f"KID ALGORITHM FILE, with one of {', '.join(ALGORITHMS)}"


def load_key(key: JwtKey) -> Any:
    """Return the key as PyJWT takes it. Raises ValueError where the material is none."""
    return key.material if key.algorithm == "HS256" else load_pem_public_key(key.material)


def read_jwt_keys(key: str, path: str) -> list[JwtKey]:
    """Return the keys of a file; raise ConfigError that names the line and what is wrong."""
    keys: dict[str, JwtKey] = {}
    for line in read_entries(key, path):
        if len(line.words) != 3 or line.words[1] not in ALGORITHMS:
            raise line.wrong(f"no key; write {_FORM}")
        kid, algorithm, name = line.words
        if kid in keys:
            raise line.wrong(f"the key id {kid!r} stands twice")
        if len(kid) > KID_CHARS_MAX:
            raise line.wrong(f"a key id has at most {KID_CHARS_MAX} characters")
        file = Path(path).parent / name
        material = read_file(f"{path}, line {line.number}: the file", file)
        keys[kid] = _checked(line, JwtKey(kid, algorithm, material), file)
    return list(keys.values())


def _checked(line: Entry, key: JwtKey, file: Path) -> JwtKey:
    if key.algorithm == "HS256":
        secret = key.material.rstrip(b"\r\n")  # an editor's line end is none of it
        if b"-----BEGIN" in secret:
            # Who knows a public key could sign with it, if it were taken for a secret.
            raise line.wrong(f"{file} is a PEM file; HS256 needs a secret that only you know")
        if len(secret) < SECRET_BYTES_MIN:
            raise line.wrong(f"{file} has less than {SECRET_BYTES_MIN} bytes; make a longer secret")
        return JwtKey(key.kid, key.algorithm, secret)
    try:
        public = load_key(key)
    except (ValueError, UnsupportedAlgorithm):
        raise line.wrong(f"{file} is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    if not _fits(key.algorithm, public):
        raise line.wrong(f"{file} is no key for {key.algorithm}: {_NEEDS[key.algorithm]}")
    return key


_NEEDS = {
    "EdDSA": "it needs an Ed25519 key",
    "ES256": "it needs a key of the curve P-256",
    "RS256": f"it needs an RSA key of {RSA_BITS_MIN} bits or more",
}


def _fits(algorithm: str, public: object) -> bool:
    if algorithm == "EdDSA":
        return isinstance(public, Ed25519PublicKey)
    if algorithm == "ES256":
        return isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
    return isinstance(public, RSAPublicKey) and public.key_size >= RSA_BITS_MIN
