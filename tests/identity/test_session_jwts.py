"""Signed tokens: the good ones, and every way to forge one that we know."""

import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import IdentitySettings
from scheduler.identity.credentials import JwtKey
from scheduler.identity.holder import Holder, Unproven
from scheduler.identity.session_jwts import JwtCheck
from tests.identity.jwts import (
    AUDIENCE,
    ISSUER,
    Ed25519Issuer,
    assemble,
    claims,
    encode,
    hs256,
    unsigned,
)

SECRET = b"a secret of the backend, long enough"
ED, OTHER = Ed25519Issuer(), Ed25519Issuer()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
PEM, SPKI = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
CHECK = JwtCheck(
    [
        JwtKey("ed", "EdDSA", ED.public_pem),
        JwtKey("es", "ES256", P256.public_key().public_bytes(PEM, SPKI)),
        JwtKey("rs", "RS256", RSA.public_key().public_bytes(PEM, SPKI)),
        JwtKey("hs", "HS256", SECRET),
    ],
    IdentitySettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_leeway_seconds=5),
)


def sign_p256(data: bytes) -> bytes:
    r, s = decode_dss_signature(P256.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign_rsa(data: bytes) -> bytes:
    return RSA.sign(data, padding.PKCS1v15(), hashes.SHA256())


def check(token: str) -> Holder | Unproven:
    return CHECK.holder(token, time.time())


def refused(token: str) -> str:
    found = check(token)
    assert isinstance(found, Unproven), found
    return found.reason


def now() -> int:
    return int(time.time())


# --- good ones ------------------------------------------------------------------------------

GOOD = {
    "EdDSA": ({"alg": "EdDSA", "kid": "ed"}, ED.sign),
    "ES256": ({"alg": "ES256", "kid": "es"}, sign_p256),
    "RS256": ({"alg": "RS256", "kid": "rs"}, sign_rsa),
    "HS256": ({"alg": "HS256", "kid": "hs"}, hs256(SECRET)),
}


@pytest.mark.parametrize(("header", "sign"), GOOD.values(), ids=GOOD)
def test_each_algorithm_verifies(header: dict[str, Any], sign: Any) -> None:
    holder = check(assemble(header, claims(tenant="acme"), sign))
    assert holder == Holder(f"jwt {header['kid']}", tenant="acme")


def test_the_tenant_may_be_left_out() -> None:
    assert check(ED.token()) == Holder("jwt ed")


def test_the_audience_may_be_one_of_several() -> None:
    assert isinstance(check(ED.token(aud=["other", AUDIENCE])), Holder)


def test_clocks_may_differ_by_the_leeway() -> None:
    assert isinstance(check(ED.token(exp=now() - 2)), Holder)
    assert isinstance(check(ED.token(nbf=now() + 3, iat=now() + 3)), Holder)
    assert isinstance(check(ED.token(exp=now() + 3600 + 3)), Holder)


# --- claims ---------------------------------------------------------------------------------

# With hours to spare: they are made when this is imported, and the tests may be long in coming.
WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "no exp": {"exp": None},
    "expired": {"exp": now() - 60},
    "further ahead than allowed": {"exp": now() + 3 * 3600},
    "for ever": {"exp": 10**18},
    "exp is text": {"exp": str(now() + 600)},
    "exp is true": {"exp": True},
    "exp is infinite": {"exp": float("inf")},
    "exp is no number": {"exp": float("nan")},
    "exp is a list": {"exp": [now() + 600]},
    "not yet": {"nbf": now() + 2 * 3600},
    "nbf is text": {"nbf": "soon"},
    "issued in the future": {"iat": now() + 2 * 3600},
    "no issuer": {"iss": None},
    "another issuer": {"iss": f"{ISSUER}.evil.example"},
    "issuers": {"iss": [ISSUER]},
    "no audience": {"aud": None},
    "another audience": {"aud": "billing"},
    "other audiences": {"aud": ["billing", f"{AUDIENCE}x"]},
    "audience in a map": {"aud": {AUDIENCE: 1}},
    "empty audience": {"aud": []},
    "tenant is empty": {"tenant": ""},
    "tenant is a list": {"tenant": ["acme"]},
    "tenant is a number": {"tenant": 0},
    "tenant is too long": {"tenant": "t" * 257},
}


@pytest.mark.parametrize("wrong", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_wrong_claims_are_refused(wrong: dict[str, Any]) -> None:
    assert refused(ED.token(**wrong)).startswith("JWT: ")


def test_a_tenant_of_null_is_not_no_tenant() -> None:
    """Who meant to write one must not get a token that is good for all."""
    payload = json.dumps(claims()).replace("{", '{"tenant": null, ', 1).encode()
    assert "tenant" in refused(assemble({"alg": "EdDSA", "kid": "ed"}, payload, ED.sign))


@pytest.mark.parametrize("payload", [b"[]", b"1", b'"x"', b"", b"{", b"\xff", b"[" * 2_000])
def test_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    refused(assemble({"alg": "EdDSA", "kid": "ed"}, payload, ED.sign))


# --- forgeries ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("kid", ["ed", "hs"])
@pytest.mark.parametrize("signature", [b"", b"x", b"\x00" * 64])
def test_none_is_no_algorithm(name: str | None, kid: str, signature: bytes) -> None:
    header = {"alg": name, "kid": kid}
    assert refused(assemble(header, claims(), lambda _: signature)) == "JWT: InvalidAlgorithmError"


def test_a_token_without_an_algorithm_is_refused() -> None:
    assert refused(assemble({"kid": "ed"}, claims(), unsigned)) == "JWT: InvalidAlgorithmError"


@pytest.mark.parametrize(
    "secret",
    [
        ED.public_pem,
        ED.public_pem.strip(),
        ED.public_raw,
        RSA.public_key().public_bytes(PEM, SPKI),
        b"",
    ],
    ids=["pem", "stripped pem", "raw", "another's pem", "empty"],
)
@pytest.mark.parametrize("kid", ["ed", "rs", "es"])
def test_a_public_key_is_no_secret(secret: bytes, kid: str) -> None:
    """The best known confusion: HMAC with what everybody may know."""
    forged = assemble({"alg": "HS256", "kid": kid}, claims(), hs256(secret))
    assert refused(forged) == "JWT: InvalidAlgorithmError"


@pytest.mark.parametrize("secret", [b"", b"\x00" * 32, ED.public_pem, b"a secret"])
def test_another_secret_signs_nothing(secret: bytes) -> None:
    forged = assemble({"alg": "HS256", "kid": "hs"}, claims(), hs256(secret))
    assert refused(forged) == "JWT: InvalidSignatureError"


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS512", "PS256", "ES384", "ES256K", "EdDSA"])
def test_the_key_file_alone_names_the_algorithm(alg: str) -> None:
    forged = assemble({"alg": alg, "kid": "hs"}, claims(), hs256(SECRET))
    assert refused(forged) == "JWT: InvalidAlgorithmError"


def test_one_key_does_not_sign_for_another() -> None:
    assert refused(OTHER.token()) == "JWT: InvalidSignatureError"
    other = JwtCheck(
        [JwtKey("a", "EdDSA", ED.public_pem), JwtKey("b", "EdDSA", OTHER.public_pem)],
        IdentitySettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE),
    )
    assert isinstance(other.holder(ED.token({"kid": "a"}), time.time()), Holder)
    assert isinstance(other.holder(ED.token({"kid": "b"}), time.time()), Unproven)


@pytest.mark.parametrize(
    "kid", ["", "ED", "../ed", "ed\x00", "hs' OR 1", None, 1, ["ed"], {"a": 1}]
)
def test_an_unknown_kid_is_refused(kid: Any) -> None:
    refused(ED.token({"kid": kid}))


def test_a_kid_is_needed_even_if_there_is_one_key() -> None:
    check = JwtCheck(
        [JwtKey("ed", "EdDSA", ED.public_pem)],
        IdentitySettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE),
    )
    forged = assemble({"alg": "EdDSA"}, claims(), ED.sign)
    assert check.holder(forged, time.time()) == Unproven("JWT with an unknown kid, or without one")


def test_keys_that_a_token_brings_along_are_ignored() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(OTHER.public_raw)}
    for extra in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil"}):
        assert refused(OTHER.token(extra)) == "JWT: InvalidSignatureError"


def test_what_must_be_understood_is_refused_where_it_is_not() -> None:
    refused(ED.token({"crit": ["exp"], "exp": 1}))
    refused(ED.token({"crit": ["http://example/x"], "http://example/x": True}))
    refused(ED.token({"crit": []}))


def test_a_payload_outside_of_the_token_is_refused() -> None:
    refused(ED.token({"b64": False, "crit": ["b64"]}))
    header = encode(
        json.dumps({"alg": "EdDSA", "kid": "ed", "b64": False, "crit": ["b64"]}).encode()
    )
    payload = json.dumps(claims())
    signature = encode(ED.sign(f"{header}.{payload}".encode()))
    refused(f"{header}..{signature}")


def test_pieces_of_good_tokens_make_no_other() -> None:
    one, other = ED.token(tenant="acme").split("."), ED.token(tenant="evil").split(".")
    refused(".".join([one[0], other[1], one[2]]))
    refused(".".join([one[0], one[1], other[2]]))
    refused(".".join([one[0], one[1], ""]))
    refused(".".join(one[:2]))
    refused(".".join([*one, one[2]]))
    refused(f"{'.'.join(one)}A")


def test_encodings_that_decode_to_the_same_are_refused() -> None:
    head, body, signature = ED.token().split(".")
    standard = base64.b64encode(base64.urlsafe_b64decode(f"{signature}==")).decode()
    for other in (f" {signature}", f"{signature}\n", standard if standard != signature else "="):
        refused(f"{head}.{body}.{other}")


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"null", b"{", b"[" * 2_500, b'{"kid":' * 350, b"\xff\xfe", b"1" * 2_900]
)
def test_headers_that_are_none_are_refused(header: bytes) -> None:
    refused(assemble(header, claims(), ED.sign))


@given(st.text(max_size=200))
def test_no_text_gets_in_or_raises(text: str) -> None:
    refused(text)
    refused(f"a.{text}.b")
    refused(f"{encode(text.encode(errors='replace'))}.e30.")


GOOD_TOKEN = ED.token(exp=now() + 3_000)


@given(st.integers(0, len(GOOD_TOKEN) - 1), st.characters(codec="ascii"))
def test_one_changed_character_spoils_a_token(position: int, other: str) -> None:
    changed = GOOD_TOKEN[:position] + other + GOOD_TOKEN[position + 1 :]
    if changed != GOOD_TOKEN:
        refused(changed)
