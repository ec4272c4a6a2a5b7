"""The TLS of the public port, from PEM in memory: gateways are handed it, they read no file."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.identity.credentials import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server, TLS 1.2 and up.

    With `client_ca` peers are asked for a certificate. They need not show one, because sessions
    share the port with nodes; one that is shown must be good, or the handshake fails.
    Raises ssl.SSLError, or ValueError for an encrypted key, where the contents can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    with _as_file(files.cert) as cert, _as_file(files.key) as key:
        context.load_cert_chain(cert, key, password=_no_password)
    if files.client_ca:
        # Of what is not ASCII, as names of CAs in comments, the ssl module wants to hear nothing.
        context.load_verify_locations(cadata=files.client_ca.decode("ascii", "ignore"))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Give the name of a file with `data`, which is all that the ssl module takes."""
    fd = os.memfd_create("tls")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _no_password() -> str:
    # Without this OpenSSL would ask for it on the terminal.
    raise ValueError("the private key is encrypted; write it out without a password")
