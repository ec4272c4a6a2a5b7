"""A session as its gateway sees it."""

from dataclasses import dataclass, field

from scheduler.protocol.ids import NO_NODE


@dataclass(slots=True, eq=False)
class Session:
    """What an open session's jobs have in common."""

    address: str
    share: tuple[int, int, int] = (0, 1, 0)
    """Flow, weight and priority of its jobs."""
    paired: int = NO_NODE
    last_node: int = NO_NODE
    jobs: set[int] = field(default_factory=set)
