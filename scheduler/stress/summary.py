"""A run in a few words and lines: what the terminal and the top of the page say."""

from scheduler.stress.figures import Figures, Latency
from scheduler.stress.raw import Run

OTHERS_CORES_MAX = 0.2
"""Above it unrelated programs are named as a reason to doubt the latencies."""

SEND_LAG_MS_MAX = 20.0

BIAS = (
    "Load and scheduler ran on the same cores. What sessions and nodes took of them was missing to "
    "the scheduler, and what they waited for a core counts as latency: on machines of its own the "
    "scheduler carries more and answers sooner. Against that, loopback has no losses and no "
    "distance, and the nodes only wait instead of working."
)
BIAS_ELSEWHERE = (
    "The load ran on this machine, the scheduler where the address says; if that is the same "
    "machine, they shared its cores. Time on the network counts as latency. The nodes only wait "
    "instead of working."
)


def verdict(figures: Figures) -> str:
    """Return whether the promises were kept."""
    if figures.kept:
        return "all promises kept"
    return "broken: " + ", ".join(f"{count:,} {what}" for what, count in figures.broken.items())


def bias(run: Run) -> str:
    """Return what makes the figures better or worse than they should be."""
    return BIAS_ELSEWHERE if run.target and run.inside is None else BIAS


def doubts(run: Run, figures: Figures) -> list[str]:
    """Return reasons not to trust the figures."""
    found = []
    if run.interrupted:
        found.append(f"It was ended early, after {figures.seconds:.0f} s.")
    others = figures.others_cores
    if others is not None and others > OTHERS_CORES_MAX:
        found.append(
            f"Unrelated programs had {others:.1f} cores meanwhile; latencies have their part in it."
        )
    lag_ms = figures.send_lag.p99_ms
    if lag_ms is not None and lag_ms > SEND_LAG_MS_MAX:
        found.append(
            f"The load was late itself: one in a hundred jobs was sent {lag_ms:,.0f} ms or more "
            "after it was due. This counts as latency."
        )
    if figures.results and figures.latency.count < 1_000:
        found.append(
            f"The percentiles rest on {figures.latency.count:,} results; p99.9 says little."
        )
    return found


def lines(run: Run, figures: Figures) -> list[tuple[str, str]]:
    """Return the result as pairs of a name and a text."""
    latency = figures.latency
    found = [
        ("scenario", f"{run.name}: {run.scenario.title}, seed {run.scenario.seed}"),
        ("jobs", _jobs(figures)),
        ("latency", in_words(latency)),
    ]
    if figures.steps:
        found.append(("carried", carried(figures)))
    if figures.errors:
        codes = ", ".join(f"{count:,} {code}" for code, count in figures.errors.items())
        found.append(("errors", codes))
    found.append(("promises", verdict(figures)))
    found += [("doubt", doubt) for doubt in doubts(run, figures)]
    return found


def _jobs(figures: Figures) -> str:
    rest = f", {figures.unfinished:,} unfinished" if figures.unfinished else ""
    rate = figures.results / figures.seconds if figures.seconds else 0.0
    return (
        f"{figures.sent:,} sent, {figures.results:,} results{rest}, in {figures.seconds:.0f} s: "
        f"{rate:,.0f} jobs/s"
    )


def in_words(latency: Latency) -> str:
    """Return a distribution in a line."""
    return (
        f"p50 {ms(latency.p50_ms)}, p90 {ms(latency.p90_ms)}, p99 {ms(latency.p99_ms)}, "
        f"p99.9 {ms(latency.p999_ms)}, max {ms(latency.max_ms)}"
    )


def carried(figures: Figures) -> str:
    """Return up to which rate a ramp was carried."""
    if figures.carried_rate is None:
        return "not even the lowest step"
    more = "" if figures.steps[-1].rate > figures.carried_rate else ", the highest step"
    return f"up to {figures.carried_rate:,.0f} jobs/s{more}"


def ms(value: float | None) -> str:
    """Return a time with its unit, "-" where there is none."""
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"
