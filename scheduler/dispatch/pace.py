"""How fast jobs end, and so when one that finds no room should be tried again."""

from scheduler.dispatch.counts import Counts
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.pending import Pending
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.settings import NS_PER_SECOND
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE
from scheduler.selection.capacity import retry_after_ms


class Pace:
    """Jobs that ended per second, over the last whole one."""

    def __init__(
        self, tables: Tables, placement: Placement, pending: Pending, counts: Counts
    ) -> None:
        self._tables = tables
        self._placement = placement
        self._pending = pending
        self._counts = counts
        self._window_ns = 0
        self._ended_before = 0
        self._ended_per_second = 0

    def refresh(self, now_ns: int) -> None:
        """Follow the time, and show each class what a job refused now would be told."""
        if now_ns - self._window_ns >= NS_PER_SECOND:
            counts = self._counts
            # Refused jobs have failed too, but made no room in the queue.
            ended = counts.completed_total + counts.failed_total - counts.refused_queue_full_total
            if self._window_ns:  # else the totals may be those of an earlier dispatcher
                self._ended_per_second = ended - self._ended_before
            self._ended_before = ended
            self._window_ns = now_ns
        for service_class in self._placement.classes:
            index, members = service_class.index, service_class.members
            self._tables.class_members[index] = members
            self._tables.class_retry_after_ms[index] = self._retry_after_ms(members)

    def retry_after_ms(self, job: Job) -> int:
        """Return when `job`, which found no room, should be tried again."""
        return self._retry_after_ms(job.service_class.members if job.paired == NO_NODE else 1)

    def _retry_after_ms(self, members: int) -> int:
        return retry_after_ms(
            members=members, queued=len(self._pending), ended_per_second=self._ended_per_second
        )
