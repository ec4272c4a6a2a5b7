"""The gateway's side of its listening sockets: what connects, and where it is led."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from websockets.frames import CloseCode

from scheduler.config import Config, LimitSettings
from scheduler.gateway.addresses import Addresses
from scheduler.gateway.connection import Connection, ConnectionContext, Counters, Life, Peer
from scheduler.gateway.handshake import Entrance, Responder
from scheduler.gateway.keepalive import Keepalive
from scheduler.gateway.tls_acceptor import TlsAcceptor
from scheduler.gateway.turns import Turns
from scheduler.gateway.unfinished import Unfinished

LISTEN_BACKLOG = 4_096

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Route:
    """A path that takes WebSockets."""

    path: str
    factory: Callable[[Connection], Peer]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The settings that concern connections."""

    limits: LimitSettings
    allowed_origins: frozenset[str] = frozenset()
    reads_tokens: bool = False

    @classmethod
    def of(cls, config: Config) -> "ConnectionSettings":
        """Pick them from the configuration."""
        identity = config.identity
        return cls(
            config.limits,
            frozenset(config.server.allowed_origins),
            reads_tokens=identity.sessions_need_token or bool(identity.node_tokens_path),
        )


class Listener:
    """Makes a connection for each socket accepted and knows those that are open."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: ConnectionSettings,
        *,
        routes: Iterable[Route],
        responders: Mapping[str, Responder],
        counters: Counters,
        count_refusal: Callable[[str], None],
        life: Life,
    ) -> None:
        """`count_refusal` is given the code of what a connection refuses by itself."""
        self._tls: ssl.SSLContext | None = None
        limits = settings.limits
        factories = {route.path: route.factory for route in routes}
        self._responders = dict(responders)
        self._loop = loop
        self._context = ConnectionContext(
            loop,
            limits,
            Entrance(
                factories.keys(),
                self._responders,
                settings.allowed_origins,
                settings.reads_tokens,
            ),
            factories,
            counters,
            count_refusal,
            Keepalive(loop, limits.ping_interval_seconds, limits.ping_timeout_seconds),
            set(),
            Unfinished(limits.unfinished_bytes_max),
            set(),
            Addresses(limits.connections_per_address_max),
            life,
            Turns(loop),
        )

    def __len__(self) -> int:
        return len(self._context.connections)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For sockets that are accepted from now on.

        Whether there is TLS is settled once it serves.
        """
        return self._tls

    @tls.setter
    def tls(self, tls: ssl.SSLContext | None) -> None:
        if tls is not None:
            tls.sni_callback = self._on_tls_hello
        self._tls = tls

    def _on_tls_hello(self, *_: object) -> None:
        # Of each handshake, whether it names a server or not: they take a millisecond each, and
        # no other code of ours runs between many of them.
        self._context.show_life(time.monotonic_ns())

    async def serve(self, listening: socket.socket) -> asyncio.Server | TlsAcceptor:
        """Accept connections until what is returned is closed; it owns `listening`."""
        if self._tls is not None:
            return TlsAcceptor(self._context, listening, self.new_connection, self._current_tls)
        unix = listening.family == socket.AF_UNIX
        create = self._loop.create_unix_server if unix else self._loop.create_server
        return await create(self.new_connection, sock=listening, backlog=LISTEN_BACKLOG)

    def new_connection(self) -> Connection:
        """Return the protocol of a socket just accepted."""
        return Connection(self._context)

    def _current_tls(self) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection; each is gone after close_timeout_seconds at the latest."""
        for connection in tuple(self._context.connections):
            connection.close(code, reason)

    async def wait_closed(self, seconds: float) -> None:
        """Close what is still open with 1012, and cut off what is left after `seconds`."""
        deadline = self._loop.time() + seconds
        self.close_all(CloseCode.SERVICE_RESTART, "service restart")
        for opening in tuple(self._context.openings):
            opening.cancel()
        while self._context.connections or self._context.openings:
            if self._loop.time() > deadline:
                for connection in tuple(self._context.connections):
                    connection.abort()
            await asyncio.sleep(_POLL_SECONDS)
