"""How many messages a connection may send."""

FLOOD_SECONDS = 10
"""Over the rate for so long without a second's rest, or by so many seconds' worth of messages."""


class MessageRate:
    """Token bucket of `per_second`, full at twice that.

    Pure: each call is given the time, in seconds of any monotonic clock.
    """

    __slots__ = (
        "_at",
        "_per_second",
        "_refused",
        "_refused_last",
        "_refused_since",
        "_tokens",
        "_told_at",
    )

    def __init__(self, per_second: int, now: float) -> None:
        self._per_second = per_second
        self._tokens = 2.0 * per_second
        self._at = now
        self._refused = 0
        self._refused_since = self._refused_last = self._told_at = float("-inf")

    def take(self, now: float, cost: int = 1) -> bool:
        """Return whether a message that counts as `cost` is within the rate."""
        refill = (now - self._at) * self._per_second
        self._tokens = min(2.0 * self._per_second, self._tokens + refill)
        self._at = now
        if self._tokens >= cost:
            self._tokens -= cost
            return True
        if now - self._refused_last > 1.0:
            self._refused_since = now
            self._refused = 0
        self._refused_last = now
        self._refused += cost
        return False

    @property
    def is_flood(self) -> bool:
        """Whether the peer ignores that it is refused, so that refusing is not enough."""
        return (
            self._refused > FLOOD_SECONDS * self._per_second
            or self._refused_last - self._refused_since > FLOOD_SECONDS
        )

    def may_tell(self, now: float) -> bool:
        """Return whether the peer is to be told now: once a second at most."""
        if now - self._told_at < 1.0:
            return False
        self._told_at = now
        return True
