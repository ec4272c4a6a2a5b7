"""The gateway's side of its listening sockets: what connects, and where it is led."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from websockets.frames import CloseCode

from scheduler.config import Config, LimitSettings
from scheduler.gateway.connection import Connection, ConnectionContext, Counters, Peer
from scheduler.gateway.handshake import Entrance, Responder
from scheduler.gateway.keepalive import Keepalive

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

    @classmethod
    def of(cls, config: Config) -> "ConnectionSettings":
        """Pick them from the configuration."""
        return cls(config.limits, frozenset(config.server.allowed_origins))


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
    ) -> None:
        """`count_refusal` is given the code of what a connection refuses by itself."""
        limits = settings.limits
        factories = {route.path: route.factory for route in routes}
        self._responders = dict(responders)
        self._loop = loop
        self._context = ConnectionContext(
            loop,
            limits,
            Entrance(factories.keys(), self._responders, settings.allowed_origins),
            factories,
            counters,
            count_refusal,
            Keepalive(loop, limits.ping_interval_seconds, limits.ping_timeout_seconds),
            set(),
        )

    def __len__(self) -> int:
        return len(self._context.connections)

    def new_connection(self) -> Connection:
        """Return the protocol of a socket just accepted: the factory for `loop.create_server`."""
        return Connection(self._context)

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection; each is gone after close_timeout_seconds at the latest."""
        for connection in tuple(self._context.connections):
            connection.close(code, reason)

    async def wait_closed(self, seconds: float) -> None:
        """Close what is still open with 1012, and cut off what is left after `seconds`."""
        deadline = self._loop.time() + seconds
        self.close_all(CloseCode.SERVICE_RESTART, "service restart")
        while self._context.connections:
            if self._loop.time() > deadline:
                for connection in tuple(self._context.connections):
                    connection.abort()
            await asyncio.sleep(_POLL_SECONDS)
