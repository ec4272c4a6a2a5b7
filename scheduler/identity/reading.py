"""Reads and checks the files that the settings name. Raises ConfigError, in one line."""

import re
import ssl

import msgspec

from scheduler.config import Config, ServerSettings
from scheduler.errors import ConfigError
from scheduler.identity.credentials import Credentials, JwtKey, TlsFiles, TokenEntry
from scheduler.identity.entries import read_file
from scheduler.identity.tls import server_context
from scheduler.identity.tokens import NODE_OPTIONS, SESSION_OPTIONS, read_tokens


def read_credentials(config: Config) -> Credentials:
    """Return what all files hold; raise ConfigError that says which is wrong and what to change."""
    identity = config.identity
    credentials = Credentials(
        _tokens("identity.node_tokens_path", identity.node_tokens_path, NODE_OPTIONS),
        _tokens("identity.session_tokens_path", identity.session_tokens_path, SESSION_OPTIONS),
        _jwt_keys("identity.jwt_keys_path", identity.jwt_keys_path),
        _tls(config.server),
    )
    _check_doors(credentials)
    return credentials


def _tokens(key: str, path: str, options: tuple[str, ...]) -> list[TokenEntry] | None:
    return read_tokens(key, path, options) if path else None


def _jwt_keys(key: str, path: str) -> list[JwtKey] | None:
    if not path:
        return None
    from scheduler.identity.jwt_keys import read_jwt_keys  # heavy, and most run without

    return read_jwt_keys(key, path)


def _check_doors(credentials: Credentials) -> None:
    """A client's token that registers nodes as well would be given other people's speech."""
    sessions = {entry.digest for entry in credentials.session_tokens or ()}
    for entry in credentials.node_tokens or ():
        if entry.digest in sessions:
            raise ConfigError(
                f"the token of {entry.name} stands in identity.node_tokens_path and in "
                "identity.session_tokens_path; make one for each"
            )


def _tls(server: ServerSettings) -> TlsFiles | None:
    if not server.tls_cert_path:
        return None
    ca_path = server.tls_client_ca_path
    files = TlsFiles(
        read_file("server.tls_cert_path", server.tls_cert_path),
        read_file("server.tls_key_path", server.tls_key_path),
        # Never empty, which would mean that no certificate is asked for.
        read_file("server.tls_client_ca_path", ca_path) + b"\n" if ca_path else b"",
    )
    try:
        server_context(msgspec.structs.replace(files, client_ca=b""))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"server.tls_cert_path = {server.tls_cert_path!r} and server.tls_key_path = "
            f"{server.tls_key_path!r} must hold a certificate and its private key in PEM: "
            f"{_reason(error)}"
        ) from error
    try:
        server_context(files)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"server.tls_client_ca_path = {ca_path!r} must hold CA certificates in PEM: "
            f"{_reason(error)}"
        ) from error
    return files


def _reason(error: ssl.SSLError | ValueError) -> str:
    return re.sub(r" \(_ssl\.c:\d+\)$", "", str(error))
