"""What a run of the readers' benchmark comes to: medians over windows, ratios, doubts."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from native_bench.readers_looks import Cpu, Look
from native_bench.readers_plan import ASKING, NONE, Call, Settings, Window
from native_bench.results import Figures
from scheduler.origin import commit, machine

_RESAMPLES = 10_000
_CONFIDENCE_PERCENT = 95

_LATE_MS_MAX = 5.0
"""Where more than 1 % of the calls of a window are later, its driver fell behind."""


class Times(Struct, frozen=True):
    """Calls of one kind in one window: from sending to answer, and how late they were sent."""

    count: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    mean_bytes: float


class Sample(Struct, frozen=True):
    """One window. `stages_p99_ms` are the scheduler's own times, by the names of its histograms.

    `others_used` is the share of one core that unrelated programs had. The last two are all times
    in the order in which calls were due.
    """

    form: str
    jobs: Times
    requests: Times
    stages_p99_ms: dict[str, float]
    cpu: dict[str, Cpu]
    others_used: float
    job_ms: list[float]
    request_ms: list[float]


class Report(Struct, frozen=True):
    """A run with all its windows; `problems` are failed calls in words, with their number."""

    commit: str
    machine: str
    settings: Settings
    samples: list[Sample]
    problems: dict[str, int]

    def of(self, form: str) -> list[Sample]:
        """Return the windows of one form that count."""
        return [
            sample
            for sample in self.samples
            if sample.form == form and sample.others_used <= self.settings.others_max
        ]


def make_report(
    settings: Settings,
    windows: list[Window],
    looks: list[tuple[Look, Look]],
    jobs: list[Call],
    requests: list[Call],
) -> Report:
    """Sort the calls into the windows; `looks` are those at the two ends of each."""
    samples = []
    for window, (before, after) in zip(windows, looks, strict=True):
        window_jobs, window_requests = (
            [call for call in calls if window.from_ns <= call.due_ns < window.until_ns]
            for calls in (jobs, requests)
        )
        samples.append(
            Sample(
                form=window.form,
                jobs=_times(window_jobs, settings.window_seconds),
                requests=_times(window_requests, settings.window_seconds),
                stages_p99_ms=after.stages_p99_ms(before),
                cpu=after.cpu(before),
                others_used=after.others_used(before),
                job_ms=_took_ms(window_jobs).tolist(),
                request_ms=_took_ms(window_requests).tolist(),
            )
        )
    problems = Counter(call.error for call in (*jobs, *requests) if call.error)
    return Report(commit(), machine(), settings, samples, dict(problems))


def _took_ms(calls: list[Call]) -> NDArray[np.float64]:
    return np.array([round((c.done_ns - c.sent_ns) / 1e6, 3) for c in calls if not c.error])


def _times(calls: list[Call], seconds: float) -> Times:
    good = [call for call in calls if not call.error]
    if not good:
        return Times(0, len(calls), 0.0, 0.0, 0.0, 0.0, 0.0)
    p50_ms, p99_ms = np.percentile(_took_ms(good), (50, 99))
    late_ms = [(call.sent_ns - call.due_ns) / 1e6 for call in calls]
    return Times(
        count=len(good),
        failed=len(calls) - len(good),
        per_second=len(good) / seconds,
        p50_ms=float(p50_ms),
        p99_ms=float(p99_ms),
        late_p99_ms=float(np.percentile(late_ms, 99)),
        mean_bytes=float(np.mean([call.answer_bytes for call in good])),
    )


def median(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    """Return the median over windows."""
    return float(np.median([value(sample) for sample in samples]))


def ratio_to_none(
    report: Report, form: str, value: Callable[[Sample], float]
) -> tuple[float, float, float]:
    """Return the ratio of the medians over windows to that of `none`, and its 95 % interval.

    The interval is the percentile bootstrap's, with windows as what is drawn.
    """
    random = np.random.default_rng(report.settings.seed)
    found, drawn = [], []
    for each in (form, NONE):
        values = np.array([value(sample) for sample in report.of(each)])
        found.append(np.median(values))
        drawn.append(np.median(random.choice(values, (_RESAMPLES, len(values))), axis=1))
    rest = (100 - _CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(drawn[0] / drawn[1], (rest, 100 - rest))
    return float(found[0] / found[1]), float(low), float(high)


def tables(report: Report) -> list[Figures]:
    """Return the figures for people."""
    return [_jobs_table(report), _requests_table(report), _cpu_table(report)]


def _jobs_table(report: Report) -> Figures:
    rows = [
        (
            form,
            f"{len(samples)}",
            f"{median(samples, lambda s: s.jobs.per_second):.0f}",
            f"{median(samples, lambda s: s.jobs.p50_ms):.2f}",
            f"{median(samples, lambda s: s.jobs.p99_ms):.2f}",
            _ratio(report, form, lambda s: s.jobs.p99_ms),
            _ratio(report, form, lambda s: s.stages_p99_ms["end_to_end"]),
        )
        for form, samples in _counted(report, report.settings.forms)
    ]
    headings = ("readers", "windows", "jobs/s", "p50 ms", "p99 ms", "to none", "scheduler's own")
    return Figures("jobs", headings, rows)


def _requests_table(report: Report) -> Figures:
    rows = [
        (
            form,
            f"{median(samples, lambda s: s.requests.per_second):.0f}",
            f"{median(samples, lambda s: s.requests.mean_bytes) / 1e3:.1f}",
            f"{median(samples, lambda s: s.requests.p50_ms):.2f}",
            f"{median(samples, lambda s: s.requests.p99_ms):.2f}",
            f"{np.percentile(np.concatenate([s.request_ms for s in samples]), 99):.2f}",
        )
        for form, samples in _counted(report, ASKING)
    ]
    headings = ("readers", "requests/s", "KB each", "p50 ms", "p99 ms", "p99 of all ms")
    return Figures("requests", headings, rows)


def _cpu_table(report: Report) -> Figures:
    counted = dict(_counted(report, report.settings.forms))
    rows = [
        (name, *(_cpu([s.cpu[name] for s in samples]) for samples in counted.values()))
        for name in report.samples[0].cpu
    ]
    return Figures("% of a core had / of the time waiting for one", ("process", *counted), rows)


def doubts(report: Report) -> Iterator[str]:
    """Yield why the figures may not mean what they seem to."""
    settings = report.settings
    for problem, count in report.problems.items():
        yield f"{count} calls failed: {problem}"
    counted = [sample for form in settings.forms for sample in report.of(form)]
    if len(counted) < len(report.samples):
        yield (
            f"{len(report.samples) - len(counted)} of {len(report.samples)} windows don't count, "
            f"for unrelated programs used over {settings.others_max:.0%} of a core"
        )
    for form in settings.forms:
        found = len(report.of(form))
        if found < settings.windows:
            yield f"{form}: only {found} windows count, not the {settings.windows} asked for"
    yield from _late("jobs", [sample.jobs for sample in counted])
    yield from _late("requests", [s.requests for s in counted if s.form in ASKING])


def _late(kind: str, windows: list[Times]) -> Iterator[str]:
    late = sum(times.late_p99_ms > _LATE_MS_MAX for times in windows)
    if late:
        yield (
            f"the driver of {kind} fell behind in {late} of {len(windows)} windows: "
            f"1 % were sent over {_LATE_MS_MAX:g} ms late"
        )


def _counted(report: Report, forms: tuple[str, ...]) -> Iterator[tuple[str, list[Sample]]]:
    """Yield each form that has windows that count, with them."""
    for form in forms:
        if samples := report.of(form):
            yield form, samples


def _cpu(shares: list[Cpu]) -> str:
    used, waited = (np.median([getattr(s, name) for s in shares]) for name in ("used", "waited"))
    return f"{used * 100:.1f} / {waited * 100:.1f}"


def _ratio(report: Report, form: str, value: Callable[[Sample], float]) -> str:
    if form == NONE or not report.of(NONE):
        return ""
    ratio, low, high = ratio_to_none(report, form, value)
    return f"{ratio:.3f} ({low:.3f} to {high:.3f})"
