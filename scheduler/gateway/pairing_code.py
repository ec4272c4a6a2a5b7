"""A node's pairing code: drawn here, made unique by the dispatcher, and known to both."""

import secrets
from collections.abc import Callable

from scheduler.gateway.context import GatewayContext
from scheduler.gateway.messages import busy
from scheduler.protocol.node import PairingCode
from scheduler.protocol.records import PairingClaimed, PairingOffered

_DRAWS_MAX = 10

Offer = Callable[[str], None]
"""Offers a code to the dispatcher."""


class PairingCodeDraw:
    """The code that one node has, or is being found for it."""

    def __init__(self, context: GatewayContext, offer: Offer) -> None:
        self._context = context
        self._offer = offer
        self._ttl_seconds = context.config.pairing.code_ttl_seconds
        self._draws = 0
        self._code = ""
        self._expires_ns = 0

    def start(self) -> None:
        """Find a code; the node asked for one."""
        self._draws = 0
        self._draw()

    def _draw(self) -> None:
        self._draws += 1
        self._offer(f"{secrets.randbelow(10**6):06}")

    def offer_again(self) -> None:
        """Tell a new dispatcher of the code that the node was given, while it is good."""
        if self._context.now_ns < self._expires_ns:
            self._offer(self._code)

    def offered(self, record: PairingOffered) -> PairingCode | None:
        """Return the message for the node, if the code is a new one; draw another if it is taken.

        Raises PeerError SERVER_BUSY where too many were taken in a row.
        """
        if not record.accepted:
            if self._draws >= _DRAWS_MAX:
                raise busy("no pairing code is free")
            self._draw()
            return None
        if record.code == self._code:  # offered again: the node has it already
            return None
        self._code = record.code
        self._expires_ns = self._context.now_ns + round(self._ttl_seconds * 1e9)
        return PairingCode(record.code, round(self._ttl_seconds))

    def claimed(self, record: PairingClaimed) -> None:
        """Forget the code: it is used up. The node may have another one by now."""
        if record.code == self._code:
            self._code = ""
            self._expires_ns = 0
