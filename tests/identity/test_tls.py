"""The server's TLS, by handshakes in memory."""

import ssl
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from scheduler.identity.credentials import TlsFiles
from scheduler.identity.tls import server_context
from tests.identity.certificates import Authority, Pair

CA, STRANGER = Authority(), Authority("another CA")
SERVER = CA.issue("server")
PLAIN = TlsFiles(*SERVER)
MUTUAL = TlsFiles(*SERVER, client_ca=CA.pem)


def client_context(folder: Any = None, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    if pair is not None:
        context.load_cert_chain(*pair.write(folder, "client"))
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends after a handshake and a word from each; raise what either end raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    waiting = [theirs, ours]
    for _ in range(10):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    for one, other in ((ours, theirs), (theirs, ours)):
        one.write(b"word")
        assert other.read() == b"word"
    return ours, theirs


def test_a_client_that_knows_the_ca_gets_in() -> None:
    ours, theirs = shake(server_context(PLAIN), client_context())
    assert ours.version() == "TLSv1.3"
    assert theirs.getpeercert() is not None
    assert ours.getpeercert() is None


def test_tls_1_2_is_spoken_and_nothing_older() -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(server_context(PLAIN), client)[0].version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    server = server_context(PLAIN)
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake(server, client)


def test_http_is_agreed_on() -> None:
    client = client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shake(server_context(PLAIN), client)[0].selected_alpn_protocol() == "http/1.1"


def test_a_certificate_is_asked_for_but_not_needed(tmp_path: Any) -> None:
    server = server_context(MUTUAL)
    assert not shake(server, client_context())[0].getpeercert()
    found = shake(server, client_context(tmp_path, CA.issue("node-7")))[0].getpeercert()
    assert found is not None
    assert found["subject"] == ((("commonName", "node-7"),),)


def test_one_is_not_asked_for_without_a_ca(tmp_path: Any) -> None:
    client = client_context(tmp_path, STRANGER.issue("node-7"))
    assert shake(server_context(PLAIN), client)[0].getpeercert() is None


@pytest.mark.parametrize(
    "pair", [STRANGER.issue("node-7"), CA.issue("node-7", lifetime=timedelta(days=-1))]
)
def test_a_bad_one_ends_the_handshake(tmp_path: Any, pair: Pair) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_context(MUTUAL), client_context(tmp_path, pair))


def test_comments_in_any_language_do_no_harm() -> None:
    server_context(TlsFiles(*SERVER, client_ca="# Zertifizierungsstelle Köln\n".encode() + CA.pem))


@pytest.mark.parametrize("client_ca", [b"\n", b"nonsense", SERVER.key])
def test_a_ca_that_is_none_is_refused(client_ca: bytes) -> None:
    with pytest.raises((ssl.SSLError, ValueError)):
        server_context(TlsFiles(*SERVER, client_ca=client_ca))


@pytest.mark.parametrize(
    "pair",
    [
        (SERVER.cert, CA.issue("other").key),
        (SERVER.key, SERVER.cert),
        (b"", SERVER.key),
        (SERVER.cert, b""),
        (b"nonsense", b"nonsense"),
    ],
)
def test_what_is_no_pair_is_refused(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(ssl.SSLError):
        server_context(TlsFiles(*pair))


def test_an_encrypted_key_is_refused_without_asking_for_its_password() -> None:
    pair = CA.issue("server", encryption=BestAvailableEncryption(b"password"))
    with pytest.raises(ValueError, match="the private key is encrypted"):
        server_context(TlsFiles(*pair))
