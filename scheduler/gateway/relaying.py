"""A gateway and the sessions of others: it leads sockets to their gateways, and takes its own."""

import asyncio
from collections.abc import Callable

from scheduler.config import Config
from scheduler.gateway.connection import Connection, Counters, Life, Peer
from scheduler.gateway.listener import ConnectionSettings, Listener, Route
from scheduler.gateway.relay import Relays
from scheduler.gateway.relayed import RELAY_PATH, RelayedPeer
from scheduler.gateway.tls_acceptor import TlsAcceptor
from scheduler.ipc.relay_sockets import RelaySockets


class Relaying:
    """Both directions. Others can lead sockets here from `serve` on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, index: int) -> None:
        """Raises OSError where there can be no socket in the runtime folder."""
        self._loop = loop
        self._limits = config.limits
        self._index = index
        self._sockets = RelaySockets(config.runtime_path)
        self._listening = self._sockets.listen(index)
        self._relays = Relays(loop, config.limits, self._sockets)
        self.lead = self._relays.lead
        self._listener: Listener | None = None
        self._server: asyncio.Server | TlsAcceptor | None = None

    async def serve(
        self,
        new_session: Callable[[Connection], Peer],
        counters: Counters,
        count_refusal: Callable[[str], None],
        life: Life,
    ) -> None:
        """Take sockets that other gateways lead here."""
        listener = Listener(
            self._loop,
            ConnectionSettings(self._limits),
            routes=[Route(RELAY_PATH, lambda conn: RelayedPeer(conn, new_session))],
            responders={},
            counters=counters,
            count_refusal=count_refusal,
            life=life,
        )
        self._listener = listener
        self._server = await listener.serve(self._listening)

    async def close(self, seconds: float) -> None:
        """Lead and take no more, and close what was taken, after `seconds` at the latest."""
        assert self._server is not None
        assert self._listener is not None
        self._relays.close()
        self._sockets.remove(self._index)
        self._server.close()
        await self._listener.wait_closed(seconds)
        self._sockets.close()
