"""What a failed attempt says of its node: marks, ejection; and whether there may be another."""

from collections.abc import Callable

from scheduler.config import SchedulerSettings
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.ejection import AT_FAULT, Ejections
from scheduler.dispatch.nodes import Node, NodeTable
from scheduler.dispatch.placement import Placement, RequirementClass
from scheduler.dispatch.retries import RetryBudget
from scheduler.dispatch.services import ServiceIndex
from scheduler.dispatch.storms import ModelMarks
from scheduler.dispatch.tables import Tables
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.records import Failure


class Blame:
    """Keeps account of the nodes' failures; what follows for jobs is the caller's business."""

    def __init__(
        self,
        settings: SchedulerSettings,
        tables: Tables,
        table: NodeTable,
        services: ServiceIndex,
        placement: Placement,
        counts: Counts,
        note: Callable[[str, str], None],
    ) -> None:
        """`note(kind, text)` keeps events for operators."""
        self._table = table
        self._services = services
        self._counts = counts
        self._marks = ModelMarks(settings.model_not_available, tables, counts)
        self._ejections = Ejections(settings.outlier_ejection, tables, placement, counts, note)
        self._retries = RetryBudget(settings.retry_budget)

    def count(self, record: Failure) -> None:
        """Count what was reported, whether or not it still matters for the job."""
        if record.code == ErrorCode.MODEL_NOT_AVAILABLE:
            known = self._services.known(record.service)
            self._marks.count(self._table.by_ref(record.node), known, record.reason)

    def failed(
        self, node: Node, record: Failure, service_class: RequirementClass, now_ns: int
    ) -> bool:
        """Hold a failure against the node that it came from, as far as it is the node's own.

        Returns whether services were marked: then the caller refits the node.
        """
        if record.by_node and record.code in AT_FAULT:
            self._ejections.failed(node, now_ns)
        if record.code != ErrorCode.MODEL_NOT_AVAILABLE:
            return False
        mask = self._services.known(record.service) or service_class.mask
        return self._marks.report(node, mask, record.version, record.reason, now_ns) > 0

    def let_down(self, node: Node, now_ns: int) -> None:
        """Hold it against the node that an attempt ran out of time, or that it left with jobs."""
        self._ejections.failed(node, now_ns)

    def may_retry(self) -> bool:
        """Return whether a failed job may get another attempt now; then it counts."""
        allowed = self._retries.withdraw()
        self._counts.retries_denied_total += not allowed
        return allowed

    def refresh(self, now_ns: int) -> tuple[list[Node], list[Node]]:
        """Follow the time; return the nodes whose marks were lifted, and those with more slots."""
        self._retries.refill(self._counts.submitted_total, now_ns)
        return self._marks.expire(now_ns), self._ejections.refresh(now_ns)

    def fit(self, node: Node, now_ns: int) -> None:
        """Follow a change of the node's capacity."""
        self._ejections.fit(node, now_ns)

    def forget(self, node: Node) -> None:
        """Drop what is known of a node that leaves the table."""
        self._marks.forget(node)
        self._ejections.forget(node)
