"""The file of keys that verify signed tokens."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ConfigError
from scheduler.identity.credentials import JwtKey
from scheduler.identity.jwt_keys import ALGORITHMS, SECRET_BYTES_MIN, load_key, read_jwt_keys

KEY = "identity.jwt_keys_path"
SECRET = b"s" * SECRET_BYTES_MIN

PRIVATE: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - to be refused
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,  # type: ignore[dict-item]
    "ed448": ed448.Ed448PrivateKey.generate,  # type: ignore[dict-item]
}


def public(name: str) -> bytes:
    key = PRIVATE[name]().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read(folder: Path, text: str, **files: bytes) -> list[JwtKey]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    path = folder / "keys"
    path.write_text(text)
    return read_jwt_keys(KEY, str(path))


def refusal(folder: Path, text: str, **files: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **files)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{folder / 'keys'}, line 1: " in message
    return message


@pytest.mark.parametrize(
    ("algorithm", "name"), [("EdDSA", "ed25519"), ("ES256", "p256"), ("RS256", "rsa-2048")]
)
def test_public_keys_are_read_from_the_folder_of_the_file(
    tmp_path: Path, algorithm: str, name: str
) -> None:
    pem = public(name)
    (key,) = read(tmp_path, f"k1 {algorithm} pem # of May\n", pem=pem)
    assert key == JwtKey("k1", algorithm, pem)
    assert load_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == pem


def test_a_secret_may_end_with_a_line_end_that_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    path.write_bytes(b" \n" + SECRET + b" \r\n\n")
    (key,) = read(tmp_path, f"k1 HS256 {path}\n")
    assert load_key(key) == b" \n" + SECRET + b" "


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize("name", PRIVATE)
def test_a_key_is_taken_for_its_own_algorithm_alone(
    tmp_path: Path, algorithm: str, name: str
) -> None:
    if (algorithm, name) in {("EdDSA", "ed25519"), ("ES256", "p256"), ("RS256", "rsa-2048")}:
        return
    message = refusal(tmp_path, f"k1 {algorithm} pem", pem=public(name))
    assert f"{tmp_path / 'pem'} is no key for {algorithm}: it needs " in message


def test_a_public_key_is_never_a_secret(tmp_path: Path) -> None:
    message = refusal(tmp_path, "k1 HS256 pem", pem=public("rsa-2048"))
    assert "is a PEM file; HS256 needs a secret that only you know" in message


def test_a_secret_must_be_long(tmp_path: Path) -> None:
    message = refusal(tmp_path, "k1 HS256 secret", secret=SECRET[1:] + b"\n")
    assert "has less than 32 bytes" in message
    assert SECRET[1:].decode() not in message


@pytest.mark.parametrize("data", [b"", b"nonsense", SECRET])
def test_what_is_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "is no public key in PEM" in refusal(tmp_path, "k1 EdDSA pem", pem=data)


@given(st.binary(max_size=120), st.sampled_from(ALGORITHMS), st.booleans())
def test_whatever_a_file_holds_it_is_a_key_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, algorithm: str, wrapped: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    body = base64.encodebytes(data)
    pem = b"-----BEGIN PUBLIC KEY-----\n" + body + b"-----END PUBLIC KEY-----\n"
    try:
        (key,) = read(folder, f"k {algorithm} any", any=pem if wrapped else data)
    except ConfigError as error:
        problem = str(error)
    else:
        problem = "" if load_key(key) else "no key, and no word about it"
    assert problem.count("\n") == 0


def test_a_private_key_does_not_belong_here(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "is no public key in PEM" in refusal(tmp_path, "k1 EdDSA pem", pem=pem)


@pytest.mark.parametrize(
    "line", ["k1 EdDSA", "k1 none pem", "k1 HS512 pem", "k1 eddsa pem", "k1 EdDSA pem more"]
)
def test_a_wrong_line_is_told_what_to_write(tmp_path: Path, line: str) -> None:
    message = refusal(tmp_path, line, pem=public("ed25519"))
    assert f"no key; write KID ALGORITHM FILE, with one of {', '.join(ALGORITHMS)}" in message


def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, "k1 EdDSA missing.pem")
    assert f"'{tmp_path / 'missing.pem'}' can't be read: No such file" in message


def test_a_kid_stands_once_and_has_a_bound(tmp_path: Path) -> None:
    pem = public("ed25519")
    assert "at most 128 characters" in refusal(tmp_path, f"{'k' * 129} EdDSA pem", pem=pem)
    with pytest.raises(ConfigError, match="line 2: the key id 'k1' stands twice"):
        read(tmp_path, "k1 EdDSA pem\nk1 EdDSA pem\n", pem=pem)
