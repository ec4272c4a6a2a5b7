"""This gateway's failures and refusals by error code, in shared memory."""

from scheduler.memory.layout import GATEWAY_CODES
from scheduler.memory.views import Views
from scheduler.protocol.codes import code_index


class CodeCounts:
    """One counter for each known code and one for all others, which nodes make up."""

    __slots__ = ("_failed", "_refused")

    def __init__(self, views: Views, gateway: int) -> None:
        def row(name: str) -> memoryview:
            return memoryview(views.column(GATEWAY_CODES.name, name)[gateway])

        self._failed = row("jobs_failed_by_code_total")
        self._refused = row("refusals_by_code_total")

    def add_failed(self, code: str) -> None:
        """Count a job that ended with this code."""
        self._failed[code_index(code)] += 1

    def add_refused(self, code: str) -> None:
        """Count something that was refused with this code."""
        self._refused[code_index(code)] += 1
