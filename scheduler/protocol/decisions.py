"""What can come of the dispatcher's look for a node."""

from enum import IntEnum


class Outcome(IntEnum):
    """Outcome of one decision."""

    PLACED = 1
    """The job went to a node at once."""
    SERVED = 2
    """The job had waited, and went to a node that became free."""
    QUEUED = 3
    """No node could take it now: it waits."""
    REFUSED = 4
    """No node could take it, and too many jobs wait already."""
    EXPIRED = 5
    """It waited too long."""
