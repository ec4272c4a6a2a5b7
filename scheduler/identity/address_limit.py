"""How often one address may be refused before it isn't listened to for a while; no clock."""

import ipaddress
from collections import OrderedDict

ADDRESSES_MAX = 10_000
"""Of the last that were refused; about 2 MB."""


class AddressLimit:
    """Refusals per address. Times are monotonic, in ns."""

    def __init__(self, refusals_max: int, window_ns: int) -> None:
        self._refusals_max = refusals_max
        self._window_ns = window_ns
        self._refused: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """When the window of an address began, and its refusals since."""

    def __len__(self) -> int:
        return len(self._refused)

    def wait_ns(self, address: str, now_ns: int) -> int:
        """Return how long `address` isn't listened to; 0 where it is."""
        started_ns, refusals = self._refused.get(network_of(address), (0, 0))
        left_ns = started_ns + self._window_ns - now_ns
        return left_ns if refusals >= self._refusals_max and left_ns > 0 else 0

    def add(self, address: str, now_ns: int) -> None:
        """Count a refusal."""
        network = network_of(address)
        started_ns, refusals = self._refused.pop(network, (now_ns, 0))
        if now_ns - started_ns >= self._window_ns:
            started_ns, refusals = now_ns, 0
        self._refused[network] = (started_ns, refusals + 1)
        if len(self._refused) > ADDRESSES_MAX:
            self._refused.popitem(last=False)


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, all of which one subscriber has."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:  # on a socket of "::"
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
