"""This gateway's failures and refusals by error code, cancelled jobs by reason."""

from scheduler.memory.layout import CANCELLATIONS, GATEWAY_CODES
from scheduler.memory.views import Views
from scheduler.protocol.cancellations import Cancellation, cancel_index
from scheduler.protocol.codes import code_index


class CodeCounts:
    """One counter for each known code and one for all others, which nodes make up."""

    __slots__ = ("_cancelled", "_failed", "_refused")

    def __init__(self, views: Views, gateway: int) -> None:
        def row(name: str) -> memoryview:
            return memoryview(views.column(GATEWAY_CODES.name, name)[gateway])

        self._failed = row("jobs_failed_by_code_total")
        self._refused = row("refusals_by_code_total")
        by_reason = views.column(CANCELLATIONS.name, "jobs_cancelled_by_reason_total")
        self._cancelled = memoryview(by_reason[gateway])

    def add_failed(self, code: str) -> None:
        """Count a job that ended with this code."""
        self._failed[code_index(code)] += 1

    def add_refused(self, code: str) -> None:
        """Count something that was refused with this code."""
        self._refused[code_index(code)] += 1

    def add_cancelled(self, reason: Cancellation) -> None:
        """Count a job that was given up."""
        self._cancelled[cancel_index(reason)] += 1

    def settle_cancelled(self, total: int) -> None:
        """Count those of all cancelled jobs that have no reason yet as lost with their gateway."""
        missing = total - sum(self._cancelled.tolist())
        self._cancelled[cancel_index(Cancellation.GATEWAY_LOST)] += missing
