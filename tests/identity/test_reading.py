"""The files that the settings name, and what an operator is told about them."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from scheduler.config import Config, IdentitySettings, ServerSettings
from scheduler.errors import ConfigError
from scheduler.identity.credentials import Credentials, JwtKey, TlsFiles, TokenEntry
from scheduler.identity.reading import read_credentials
from scheduler.identity.tokens import digest_of
from tests.identity.certificates import Authority
from tests.identity.jwts import Ed25519Issuer

CA = Authority()
SERVER = CA.issue("server")


def write(folder: Path, **files: bytes) -> dict[str, str]:
    """Write files; return their paths by name."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in files}


def server(paths: dict[str, str]) -> Config:
    return Config(
        server=ServerSettings(
            tls_cert_path=paths["cert"],
            tls_key_path=paths["key"],
            tls_client_ca_path=paths.get("ca", ""),
        )
    )


def refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        read_credentials(config)
    message = str(caught.value)
    assert "\n" not in message
    assert "_ssl.c" not in message
    return message


def test_without_files_there_is_nothing() -> None:
    assert read_credentials(Config()) == Credentials()


def test_all_of_them_are_read(tmp_path: Path) -> None:
    issuer = Ed25519Issuer()
    paths = write(
        tmp_path,
        nodes=f"n {digest_of('n').hex()} node_id=node-7".encode(),
        sessions=f"s {digest_of('s').hex()} tenant=acme".encode(),
        keys=b"k EdDSA pem",
        pem=issuer.public_pem,
        cert=SERVER.cert,
        key=SERVER.key,
        ca=CA.pem,
    )
    identity = IdentitySettings(
        node_tokens_path=paths["nodes"],
        session_tokens_path=paths["sessions"],
        jwt_keys_path=paths["keys"],
    )
    assert read_credentials(Config(server=server(paths).server, identity=identity)) == Credentials(
        [TokenEntry("n", digest_of("n"), node_id="node-7")],
        [TokenEntry("s", digest_of("s"), tenant="acme")],
        [JwtKey("k", "EdDSA", issuer.public_pem)],
        TlsFiles(SERVER.cert, SERVER.key, CA.pem + b"\n"),
    )


@pytest.mark.parametrize("name", ["node_tokens_path", "session_tokens_path", "jwt_keys_path"])
def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path, name: str) -> None:
    missing = str(tmp_path / "missing")
    identity = msgspec.structs.replace(IdentitySettings(), **{name: missing})
    message = refusal(Config(identity=identity))
    assert message.startswith(f"identity.{name} = {missing!r} can't be read: No such file")


def test_one_token_opens_one_door(tmp_path: Path) -> None:
    line = f"both {digest_of('both').hex()}".encode()
    paths = write(tmp_path, nodes=line, sessions=line)
    identity = IdentitySettings(
        node_tokens_path=paths["nodes"], session_tokens_path=paths["sessions"]
    )
    assert refusal(Config(identity=identity)) == (
        "the token of both stands in identity.node_tokens_path and in "
        "identity.session_tokens_path; make one for each"
    )


def test_certificate_and_key_must_belong_together(tmp_path: Path) -> None:
    paths = write(tmp_path, cert=SERVER.cert, key=CA.issue("other").key)
    message = refusal(server(paths))
    assert message.startswith(
        f"server.tls_cert_path = {paths['cert']!r} and server.tls_key_path = {paths['key']!r} must "
        "hold a certificate and its private key in PEM: "
    )
    assert "key values mismatch" in message


def test_an_encrypted_key_is_said_to_be_one(tmp_path: Path) -> None:
    pair = CA.issue("server", encryption=BestAvailableEncryption(b"password"))
    message = refusal(server(write(tmp_path, cert=pair.cert, key=pair.key)))
    assert message.endswith("the private key is encrypted; write it out without a password")


@pytest.mark.parametrize("ca", [b"", b"\n", b"nonsense"])
def test_a_client_ca_that_is_none_is_named(tmp_path: Path, ca: bytes) -> None:
    """Above all an empty one, which else would mean that no certificate is asked for."""
    paths = write(tmp_path, cert=SERVER.cert, key=SERVER.key, ca=ca)
    message = refusal(server(paths))
    assert message.startswith(f"server.tls_client_ca_path = {paths['ca']!r} must hold CA")


def test_who_needs_none_of_it_loads_none_of_it() -> None:
    code = (
        "import sys; import scheduler.supervisor.supervisor as s;"
        "from scheduler.config import Config;"
        "from scheduler.identity.reading import read_credentials; read_credentials(Config());"
        "print([name for name in ('cryptography', 'jwt') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout == "[]\n"
