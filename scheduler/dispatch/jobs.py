"""A job as the dispatcher sees it."""

from typing import TYPE_CHECKING

from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import Announce, Submit

if TYPE_CHECKING:
    from scheduler.dispatch.nodes import Node
    from scheduler.dispatch.placement import RequirementClass

Order = tuple[int, int, int, int]
"""Of waiting jobs: failed over first, then by priority, tag (dispatch/fairness.py), arrival."""


class Job:
    """An accepted job without a terminal outcome: it runs on `node`, or waits in a backlog."""

    # Class attributes, not assignments in __init__: most jobs never change most of these, and
    # making a job is a tenth of what placing it costs.
    attempt = 0
    node: "Node | None" = None
    started_ns = 0
    deadline_ns = 0
    order: Order = (0, 0, 0, 0)
    excluded: tuple[int, ...] = ()
    """References of the nodes that failed this job."""
    lost_on = NO_NODE
    """The node that held the last attempt when its connection was lost."""
    cause: "Cause | None" = None
    """Why the last attempt ended."""

    def __init__(
        self,
        gateway: int,
        record: Submit | Announce,
        service_class: "RequirementClass",
        now_ns: int,
    ) -> None:
        """`gateway` is the one that accepted the job."""
        self.key = record.job
        self.owner = gateway
        self.service_class = service_class
        self.record = record
        self.paired = record.paired
        self.avoid = record.avoid
        self.submitted_ns = now_ns

    def may_run_on(self, node: "Node") -> bool:
        """Whether this job may run on `node`, free slots aside."""
        if self.paired not in {NO_NODE, node.ref}:
            return False
        return node.ref not in self.excluded and node.fits(self.service_class.mask)


class Cause:
    """Why an attempt ended; the last one is what the session is told."""

    __slots__ = ("code", "error", "message")

    def __init__(self, code: str, message: str, error: bytes = b"") -> None:
        self.code = code
        self.message = message
        self.error = error
