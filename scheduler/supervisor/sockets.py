"""The listening sockets. The supervisor binds them once; children accept on what they inherit.

Inherited rather than bound by each with SO_REUSEPORT, which strands the connections queued at
an acceptor that stalls or dies, and so that a restarted child misses none.
"""

import errno
import os
import socket
from collections.abc import Sequence
from typing import Any

from scheduler.errors import StartError

BACKLOG = 4_096
"""Connections waiting to be accepted; the kernel lowers it to net.core.somaxconn."""

_ABSENT_ERRNOS = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
"""Passed over while another address works: "localhost" names ::1 on machines without IPv6 too."""


def listen(host: str, port: int, *, host_key: str, port_key: str) -> list[socket.socket]:
    """Return a non-blocking listening socket for each address of `host`.

    "::" alone takes IPv4 connections too. With port 0 all addresses get the port that the
    first one was given. Raises StartError, which names the setting to change: `host_key` or
    `port_key`.
    """
    addresses = _resolve(host, port, host_key)
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, address in addresses:
        bound_port = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(
                _bind(family, (address[0], bound_port, *address[2:]), ipv6_only=len(addresses) > 1)
            )
        except OSError as error:
            if error.errno not in _ABSENT_ERRNOS:
                close_all(sockets)
                raise _explained(error, host, port, host_key, port_key) from error
            absent = error
    if absent and not sockets:
        raise _explained(absent, host, port, host_key, port_key) from absent
    return sockets


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close our copies."""
    for listener in sockets:
        listener.close()


def shown_address(listener: socket.socket) -> str:
    """Return the bound address as host:port, with brackets around IPv6."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _resolve(host: str, port: int, host_key: str) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(
            f"can't resolve {host!r}: {error}; set {host_key} to an address of this machine"
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: Any, *, ipv6_only: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _explained(error: OSError, host: str, port: int, host_key: str, port_key: str) -> StartError:
    match error.errno:
        case errno.EADDRINUSE:
            advice = f"another program listens there: stop it, or set {port_key} to a free port"
        case errno.EACCES | errno.EPERM:
            advice = f"no permission for that port: set {port_key} to one from 1024 on"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            advice = f"not an address of this machine: set {host_key} to one that is"
        case _:
            advice = f"{os.strerror(error.errno or 0)}: check {host_key} and {port_key}"
    return StartError(f"can't listen on {host} port {port}: {advice}")
