"""How a run stands while it goes on."""

from collections import Counter, deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from scheduler.stress.messages import Batch, Call, Violation
from scheduler.stress.raw import Look

WINDOW_NS = 3_000_000_000
"""What "now" means: the last so many ns."""

HISTORY_SECONDS = 60


class Progress(Struct, frozen=True):
    """The figures of a moment. Rates and latencies are those of the last seconds."""

    elapsed_seconds: float
    seconds: float
    stopping: bool
    sent: int
    waiting: int
    sessions: int
    delivered_per_second: float
    errors_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    results: int
    errors: int
    violations: int
    delivered_history: list[float]
    cpu: dict[str, float]
    queued: int | None


class Collected:
    """All that the drivers reported so far."""

    def __init__(self, seconds: float) -> None:
        self.calls: list[Call] = []
        self.violations: list[Violation] = []
        self.troubles: Counter[str] = Counter()
        self._seconds = seconds
        self._latest: dict[int, Batch] = {}
        self._recent: deque[Call] = deque()
        self._per_second: Counter[int] = Counter()
        self._errors = 0

    def take(self, driver: int, batch: Batch) -> None:
        """Take what a driver reports."""
        self.calls += batch.calls
        self.violations += batch.violations
        self.troubles.update(batch.troubles)
        self._recent.extend(batch.calls)
        self._errors += sum(1 for call in batch.calls if call.code)
        self._per_second.update(call.done_ns // 10**9 for call in batch.calls if not call.code)
        self._latest[driver] = replace(batch, calls=[], violations=[], troubles={})

    def progress(
        self, begin_ns: int, now_ns: int, looks: Sequence[Look], *, stopping: bool
    ) -> Progress:
        """Return how things stand; `looks` are all so far."""
        while self._recent and self._recent[0].done_ns < now_ns - WINDOW_NS:
            self._recent.popleft()
        window_s = max(min(WINDOW_NS, now_ns - begin_ns), 1) / 1e9
        latencies = sorted(call.done_ns - call.due_ns for call in self._recent if not call.code)
        errors = len(self._recent) - len(latencies)
        latest = self._latest.values()
        return Progress(
            elapsed_seconds=max(0.0, (now_ns - begin_ns) / 1e9),
            seconds=self._seconds,
            stopping=stopping,
            sent=sum(batch.sent for batch in latest),
            waiting=sum(batch.waiting for batch in latest),
            sessions=sum(batch.sessions for batch in latest),
            delivered_per_second=len(latencies) / window_s,
            errors_per_second=errors / window_s,
            p50_ms=_percentile_ms(latencies, 0.5),
            p99_ms=_percentile_ms(latencies, 0.99),
            results=len(self.calls) - self._errors,
            errors=self._errors,
            violations=len(self.violations),
            delivered_history=self._history(begin_ns, now_ns),
            cpu=cpu_shares(looks[-2], looks[-1]) if len(looks) > 1 else {},
            queued=looks[-1].queued if looks else None,
        )

    def _history(self, begin_ns: int, now_ns: int) -> list[float]:
        """Return results in each whole second so far, the last HISTORY_SECONDS of them."""
        last = now_ns // 10**9
        first = max(begin_ns // 10**9, last - HISTORY_SECONDS)
        return [float(self._per_second[second]) for second in range(first, last)]


def _percentile_ms(sorted_ns: list[int], share: float) -> float | None:
    if not sorted_ns:
        return None
    return sorted_ns[min(int(share * len(sorted_ns)), len(sorted_ns) - 1)] / 1e6


def cpu_shares(before: Look, after: Look) -> dict[str, float]:
    """Return the cores that each process had between two looks; 1.0 is one core."""
    passed_s = max(after.time_ns - before.time_ns, 1) / 1e9
    return {
        name: max(0.0, seconds - before.cpu_seconds[name]) / passed_s
        for name, seconds in after.cpu_seconds.items()
        if name in before.cpu_seconds
    }
