"""How many sockets each address has open at one gateway."""

from collections import Counter

from scheduler.identity.address_limit import network_of


class Addresses:
    """Open sockets by the network at their other end; of IPv6 that is a /64.

    A socket counts from `enter` until `leave` is called with the key that `enter` returned. The
    key "" is of sockets that don't count.
    """

    __slots__ = ("_open", "_per_address_max")

    def __init__(self, per_address_max: int) -> None:
        """`per_address_max` of 0: there is no bound, and no socket counts."""
        self._per_address_max = per_address_max
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, address: str) -> str:
        """Count a socket and return its key; one without an address, of this machine, has ""."""
        if not self._per_address_max or not address:
            return ""
        key = network_of(address)
        self._open[key] += 1
        return key

    def leave(self, key: str) -> None:
        """Count a socket no more."""
        if not key:
            return
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def is_over(self, key: str) -> bool:
        """Whether there are more sockets of that key than there may be."""
        return self._open[key] > self._per_address_max
