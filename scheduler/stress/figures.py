"""Figures from raw samples. Nothing here fails for want of samples: what can't be said is null.

Latency counts from when a job was due, not from when it was sent, so that a load generator that
falls behind can't hide waiting ("coordinated omission"). Jobs due in the warm-up don't count.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise, takewhile

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scheduler.memory.histogram import mean_ns, percentile_ns
from scheduler.stress.arrivals import Level, levels
from scheduler.stress.messages import CUT_OFF, LOST, TALKER, UNFINISHED, Call
from scheduler.stress.progress import cpu_shares
from scheduler.stress.raw import Run
from scheduler.stress.scenario import Ramp

DELIVERED_SHARE_MIN = 0.95
"""A step is carried if that share of what was due had its result within the step."""

ERRORS_SHARE_MAX = 0.01
"""And if no more than that ended in an error."""

_BINS = 80
_LEAST_MS = 0.001

_OWN_CODES = frozenset({CUT_OFF, LOST, UNFINISHED})


class Latency(Struct, frozen=True):
    """A distribution in ms."""

    count: int
    mean_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None


class Histogram(Struct, frozen=True):
    """Counts between edges in ms, which are evenly far apart on a logarithmic scale."""

    edges_ms: list[float]
    counts: list[int]


class Second(Struct, frozen=True):
    """One second of the run: jobs due, results and errors that came, latency of those due."""

    at_s: int
    offered: int
    delivered: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None


class Step(Struct, frozen=True):
    """One step of a ramp; rates are jobs per second, `errors` a share (0-1)."""

    rate: float
    offered: float
    delivered: float
    errors: float
    p50_ms: float | None
    p99_ms: float | None
    carried: bool


class Stage(Struct, frozen=True):
    """A histogram of the scheduler's own. `counts` as scheduler/memory/histogram.py has them."""

    name: str
    counts: list[int]
    latency: Latency


class CpuUse(Struct, frozen=True):
    """Cores that a process had: in all of the run, and between looks."""

    name: str
    mean: float
    greatest: float
    at_s: list[float]
    shares: list[float]


class KindLatency(Struct, frozen=True):
    """A kind of jobs."""

    name: str
    sent: int
    errors: int
    latency: Latency


class Figures(Struct, frozen=True):
    """What a run comes to."""

    seconds: float
    sent: int
    results: int
    failed: dict[str, int]
    refused: dict[str, int]
    lost: int
    cut_off: int
    unfinished: int
    broken: dict[str, int]
    latency: Latency
    from_sent: Latency
    send_lag: Latency
    histogram: Histogram
    kinds: list[KindLatency]
    per_second: list[Second]
    steps: list[Step]
    carried_rate: float | None
    stages: list[Stage]
    cpu: list[CpuUse]
    others_cores: float | None

    @property
    def kept(self) -> bool:
        """Whether all promises were kept."""
        return not self.broken

    @property
    def errors(self) -> dict[str, int]:
        """Jobs without a result, by code: refused, failed, cut off, lost; most first."""
        counted = Counter(self.failed) + Counter(self.refused)
        counted.update({CUT_OFF: self.cut_off, LOST: self.lost})
        return {code: count for code, count in counted.most_common() if count}


class _Table:
    """The calls as columns; times are seconds from the begin, latencies ns."""

    def __init__(self, run: Run) -> None:
        calls = run.calls
        self.due_ns = _column([call.due_ns - run.begin_ns for call in calls])
        self.sent_ns = _column([call.sent_ns - run.begin_ns for call in calls])
        self.done_ns = _column([call.done_ns - run.begin_ns for call in calls])
        self.kind = _column([call.kind for call in calls])
        self.is_result = np.array([not call.code for call in calls], bool)
        # Unfinished ones are no errors: nobody waited for them.
        self.is_error = np.array([call.code not in {"", UNFINISHED} for call in calls], bool)
        self.counts = self.due_ns >= run.scenario.warmup_seconds * 1e9
        self.latency_ns = self.done_ns - self.due_ns


def _column(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def make_figures(run: Run) -> Figures:
    """Work out all figures."""
    table = _Table(run)
    measured = table.is_result & table.counts
    steps = _steps(run, table)
    carried = [step.rate for step in takewhile(lambda step: step.carried, steps)]
    return Figures(
        seconds=round((run.until_ns - run.begin_ns) / 1e9, 3),
        sent=len(run.calls),
        results=int(table.is_result.sum()),
        failed=_by_code(call for call in run.calls if call.accepted),
        refused=_by_code(call for call in run.calls if not call.accepted),
        lost=_coded(run.calls, LOST),
        cut_off=_coded(run.calls, CUT_OFF),
        unfinished=_coded(run.calls, UNFINISHED),
        broken=dict(Counter(violation.what for violation in run.violations)),
        latency=make_latency(table.latency_ns[measured]),
        from_sent=make_latency((table.done_ns - table.sent_ns)[measured]),
        send_lag=make_latency((table.sent_ns - table.due_ns)[table.counts]),
        histogram=_histogram(table.latency_ns[measured]),
        kinds=_kinds(run, table),
        per_second=_per_second(run, table),
        steps=steps,
        carried_rate=max(carried, default=None),
        stages=_stages(run),
        cpu=_cpu(run),
        others_cores=_others_cores(run),
    )


def _by_code(calls: Iterable[Call]) -> dict[str, int]:
    counted = Counter(call.code for call in calls if call.code and call.code not in _OWN_CODES)
    return dict(counted.most_common())


def _coded(calls: list[Call], code: str) -> int:
    return sum(call.code == code for call in calls)


def make_latency(values_ns: NDArray[np.int64]) -> Latency:
    """Return the distribution of times in ns; percentiles are exact, and values that occurred."""
    if not values_ns.size:
        return Latency(0)
    figures = np.percentile(values_ns, (50, 90, 99, 99.9, 100), method="inverted_cdf")
    ms = (round(float(value) / 1e6, 3) for value in (values_ns.mean(), *figures))
    return Latency(int(values_ns.size), *ms)


def _histogram(values_ns: NDArray[np.int64]) -> Histogram:
    if not values_ns.size:
        return Histogram([], [])
    values_ms = np.maximum(values_ns / 1e6, _LEAST_MS)
    # Room on both sides: all values may be the same.
    edges = np.geomspace(values_ms.min() / 1.02, values_ms.max() * 1.02, _BINS + 1)
    counts = np.histogram(values_ms, edges)[0]
    return Histogram(edges.round(6).tolist(), counts.tolist())


def _kinds(run: Run, table: _Table) -> list[KindLatency]:
    names = dict(enumerate(kind.name for kind in run.scenario.kinds))
    if run.scenario.talkers is not None:
        names[TALKER] = "talkers, in chunks"
    found = []
    for number, name in names.items():
        of_kind = table.kind == number
        latencies_ns = table.latency_ns[of_kind & table.is_result & table.counts]
        found.append(
            KindLatency(
                name,
                int(of_kind.sum()),
                int((of_kind & table.is_error).sum()),
                make_latency(latencies_ns),
            )
        )
    return found


def _per_second(run: Run, table: _Table) -> list[Second]:
    """Return whole seconds, up to the last in which a job was due or answered."""
    due_s, done_s = table.due_ns // 10**9, table.done_ns // 10**9
    last = int(max(due_s.max(initial=-1), done_s[~_unfinished(run)].max(initial=-1)))
    found = []
    for second in range(last + 1):
        due, done = due_s == second, done_s == second
        latency = make_latency(table.latency_ns[due & table.is_result])
        found.append(
            Second(
                second,
                int(due.sum()),
                int((done & table.is_result).sum()),
                int((done & table.is_error).sum()),
                latency.p50_ms,
                latency.p99_ms,
            )
        )
    return found


def _unfinished(run: Run) -> NDArray[np.bool_]:
    return np.array([call.code == UNFINISHED for call in run.calls], bool)


def _steps(run: Run, table: _Table) -> list[Step]:
    """Return the whole steps of a ramp, none for other loads."""
    if not isinstance(run.scenario.load, Ramp):
        return []
    plan = levels(run.scenario.load, run.scenario.seconds)
    reached_s = (run.until_ns - run.begin_ns) / 1e9
    return [_step(level, table) for level in plan if level.until_s <= reached_s + 1e-6]


def _step(level: Level, table: _Table) -> Step:
    from_ns, until_ns = level.from_s * 1e9, level.until_s * 1e9
    seconds = level.until_s - level.from_s
    spoken = table.kind != TALKER
    due = (table.due_ns >= from_ns) & (table.due_ns < until_ns) & spoken
    done = (table.done_ns >= from_ns) & (table.done_ns < until_ns) & table.is_result & spoken
    due_total, done_total = int(due.sum()), int(done.sum())
    errors = int((due & table.is_error).sum()) / due_total if due_total else 0.0
    latency = make_latency(table.latency_ns[due & table.is_result])
    keeps_up = due_total > 0 and done_total >= DELIVERED_SHARE_MIN * due_total
    return Step(
        round(level.rate, 3),
        round(due_total / seconds, 3),
        round(done_total / seconds, 3),
        round(errors, 5),
        latency.p50_ms,
        latency.p99_ms,
        keeps_up and errors <= ERRORS_SHARE_MAX,
    )


def _stages(run: Run) -> list[Stage]:
    if run.inside is None:
        return []
    return [Stage(name, counts, _bucketed(counts)) for name, counts in run.inside.stages.items()]


def _bucketed(counted: list[int]) -> Latency:
    """Return a distribution by its buckets; it is off by at most an eighth."""
    counts = _column(counted)
    total = int(counts.sum())
    if not total:
        return Latency(0)
    shares = (0.5, 0.9, 0.99, 0.999, 1.0)
    values = (mean_ns(counts), *(percentile_ns(counts, share) for share in shares))
    return Latency(total, *(round(value / 1e6, 3) for value in values))


def _cpu(run: Run) -> list[CpuUse]:
    """Return processes in the order in which they were first seen."""
    looks = run.looks
    names = list(dict.fromkeys(name for look in looks for name in look.cpu_seconds))
    between = [
        ((after.time_ns - run.begin_ns) / 1e9, cpu_shares(before, after))
        for before, after in pairwise(looks)
    ]
    found = []
    for name in names:
        points = [(at_s, shares[name]) for at_s, shares in between if name in shares]
        if not points:
            continue
        shares = [round(share, 4) for _, share in points]
        mean = round(sum(shares) / len(shares), 4)
        times = [round(at_s, 2) for at_s, _ in points]
        found.append(CpuUse(name, mean, max(shares), times, shares))
    return found


def _others_cores(run: Run) -> float | None:
    """Return how many cores unrelated programs had, or the machine's host took away."""
    if len(run.looks) < 2:
        return None
    first, last = run.looks[0], run.looks[-1]
    ours = sum(cpu_shares(first, last).values())
    passed_s = (last.time_ns - first.time_ns) / 1e9
    busy = (last.busy_seconds - first.busy_seconds) / passed_s
    return round(max(0.0, busy - ours), 3)
