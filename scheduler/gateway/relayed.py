"""A socket that another gateway led here (relay.py), until it is a session's like any other."""

from collections.abc import Callable

import msgspec
from msgspec import Struct
from websockets.frames import CloseCode

from scheduler.gateway.connection import Connection, Peer

RELAY_PATH = "/relay"
"""Of WebSockets between gateways."""


class Introduction(Struct, tag="introduction"):
    """What a gateway says before the client's own frames: whose they are."""

    peer_address: str


_decode = msgspec.json.Decoder(Introduction).decode


class RelayedPeer:
    """Waits for the introduction, then leaves the socket to a session."""

    def __init__(self, connection: Connection, new_session: Callable[[Connection], Peer]) -> None:
        self._connection = connection
        self._new_session = new_session

    def on_text(self, message: bytes) -> None:
        """Take the introduction."""
        try:
            self._connection.peer_address = _decode(message).peer_address
        except msgspec.MsgspecError:
            self._refuse()
            return
        self._connection.pass_to(self._new_session(self._connection))

    def on_binary(self, message: bytes) -> None:  # noqa: ARG002
        """No gateway begins with this."""
        self._refuse()

    def on_closed(self) -> None:
        """Nothing is held."""

    def _refuse(self) -> None:
        self._connection.close(CloseCode.POLICY_VIOLATION, "no introduction of a gateway")
