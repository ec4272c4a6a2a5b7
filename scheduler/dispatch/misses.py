"""Jobs for which there was no node: why, counted for operators and recorded as decisions."""

from scheduler.config import LoadBalancerSettings
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.decisions import DecisionLog
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.tables import Tables
from scheduler.protocol.decisions import Outcome
from scheduler.selection.exclusions import Excluded, look
from scheduler.selection.services import words_of


class Misses:
    """Looks at the node table once for many like jobs: in a storm they ask by the thousand."""

    def __init__(
        self, tables: Tables, limits: LoadBalancerSettings, decisions: DecisionLog, counts: Counts
    ) -> None:
        self._tables = tables
        self._limits = limits
        self._decisions = decisions
        self._counts = counts
        self._known: dict[tuple[int, int, tuple[int, ...]], Excluded] = {}
        self._shown: set[int] = set()
        """Which of those have their nodes among the samples."""

    def refresh(self) -> None:
        """Forget what is no longer true."""
        self._known.clear()
        self._shown.clear()

    def why(self, job: Job) -> Excluded:
        """Return the nodes per reason, as of the first look since the last refresh."""
        mask = job.service_class.mask
        key = (mask, job.paired, job.excluded)
        if key not in self._known:
            self._known[key] = look(
                self._tables.nodes, self._limits, words_of(mask), job.excluded, job.paired
            )
        return self._known[key]

    def record(self, job: Job, outcome: Outcome, queued: int, now_ns: int) -> None:
        """Record the decision, as far as the budget goes."""
        if self._decisions.budget > 0:
            self._decisions.without_node(job, outcome, self.why(job), queued, now_ns)
        else:
            self._counts.decisions_unrecorded_total += 1

    def count(self, excluded: Excluded) -> None:
        """Count the nodes that kept a job from ending well."""
        self._tables.excluded_total += excluded.counts
        if id(excluded) not in self._shown:
            self._shown.add(id(excluded))
            self._show(excluded)

    def _show(self, excluded: Excluded) -> None:
        for index, latest in excluded.samples.items():
            kept = self._tables.excluded_samples[index]
            earlier = [ref for ref in kept.tolist() if ref not in latest]
            kept[:] = [*latest, *earlier][: len(kept)]
