"""A node's life cycle, as data."""

from enum import IntEnum


class Status(IntEnum):
    """Status of a node table row. Only READY nodes get jobs."""

    FREE = 0
    REGISTERING = 1
    READY = 2
    DEGRADED = 3
    DRAINING = 4
    OFFLINE = 5

    @property
    def wire(self) -> str:
        """Name in `node_status`."""
        return self.name.lower()


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.FREE: frozenset({Status.REGISTERING}),
    Status.REGISTERING: frozenset({Status.READY, Status.DEGRADED, Status.DRAINING, Status.OFFLINE}),
    Status.READY: frozenset({Status.DEGRADED, Status.DRAINING, Status.OFFLINE}),
    Status.DEGRADED: frozenset({Status.READY, Status.DRAINING, Status.OFFLINE}),
    # `resume` makes a drained node prove its health again.
    Status.DRAINING: frozenset({Status.REGISTERING, Status.OFFLINE}),
    Status.OFFLINE: frozenset({Status.REGISTERING, Status.FREE}),
}
"""What may follow what; anything else is a bug of ours and asserts."""
