"""What is left at the end of a run: nothing, and counters that add up."""

from collections.abc import Iterator

from msgspec import Struct

from tests.chaos.history import now_ns
from tests.chaos.violation import Violation

RSS_GROWTH_BYTES_MAX = 32 << 20
"""What an interpreter may come to hold besides, over hundreds of restarts of others."""

FDS_GROWTH_MAX = 2
"""Of a process that serves again what it served at the start: a log line may just be written."""

MUST_BE_ZERO = (
    "jobs_overdue_total",
    "audit_freed_total",
    "audit_rescored_total",
    "attempts_dropped_total",
)
"""Each stands for a fault of the scheduler that something else put right."""


class ProcessFacts(Struct, frozen=True):
    """What one process has of the machine."""

    kinds: dict[str, int]
    """Descriptors by what they lead to, as "pipe" or "/memfd:arena"."""
    rss_bytes: int
    """Resident memory of its own."""

    @property
    def fds(self) -> int:
        """All descriptors."""
        return sum(self.kinds.values())

    @property
    def memfds(self) -> int:
        """Descriptors of shared memory."""
        return sum(count for kind, count in self.kinds.items() if kind.startswith("/memfd:"))


class EndFacts(Struct, frozen=True):
    """What there is once everybody has left."""

    left: dict[str, str]
    """Gauges that are not zero, in words."""
    slots: dict[str, str]
    """Nodes with jobs, when all jobs were over."""
    totals: dict[str, dict[str, int]]
    """Jobs by outcome: of each gateway, and of the dispatcher as `submitted`."""
    counters: dict[str, int]
    """Those of MUST_BE_ZERO, and others to be shown."""
    before: dict[str, ProcessFacts]
    """Processes, before anybody was connected; `after` likewise."""
    after: dict[str, ProcessFacts]
    orphans: list[str]
    troubles: list[str]
    """What went wrong with the scheduler or the harness as a whole, in words."""


def check_end(facts: EndFacts) -> Iterator[Violation]:
    """Yield what is not as it should be."""
    at_ns = now_ns()
    for name, value in {**facts.left, **facts.slots}.items():
        yield Violation("leaked", at_ns, name, f"not zero at the end: {value}")
    for name, totals in facts.totals.items():
        taken = totals["accepted"]
        ended = totals["completed"] + totals["failed"] + totals["cancelled"]
        if taken != ended:
            yield Violation("miscounted", at_ns, name, f"{taken} jobs, {ended} ends: {totals}")
    for name in MUST_BE_ZERO:
        if facts.counters.get(name):
            text = f"{facts.counters[name]}, where 0 is right"
            yield Violation("miscounted", at_ns, name, text)
    for name, before in facts.before.items():
        yield from _check_process(at_ns, name, before, facts.after.get(name))
    for orphan in facts.orphans:
        yield Violation("leaked", at_ns, "process", f"still runs: {orphan}")
    for trouble in facts.troubles:
        yield Violation("died", at_ns, "scheduler", trouble)


def _check_process(
    at_ns: int, name: str, before: ProcessFacts, after: ProcessFacts | None
) -> Iterator[Violation]:
    if after is None:
        yield Violation("died", at_ns, name, "does not run at the end")
        return
    if after.fds > before.fds + FDS_GROWTH_MAX:
        text = f"descriptors at the start {before.kinds}, at the end {after.kinds}"
        yield Violation("leaked", at_ns, name, text)
    if after.memfds > before.memfds:
        text = f"{before.memfds} memfds at the start, {after.memfds} at the end"
        yield Violation("leaked", at_ns, name, text)
    if after.rss_bytes > before.rss_bytes + RSS_GROWTH_BYTES_MAX:
        text = f"{before.rss_bytes >> 20} MiB at the start, {after.rss_bytes >> 20} MiB at the end"
        yield Violation("leaked", at_ns, name, text)
