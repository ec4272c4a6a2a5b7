"""What is aimed at: each target with the benchmark and the figure that it is held against."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct


class Target(Struct, frozen=True):
    """One target. Where `limit` is None, the figure is only reported."""

    benchmark: str
    figure: str
    says: str
    bound: Literal["at least", "at most", "reported"]
    limit: float = 0.0
    form: str = "{:,.2f}"

    @property
    def key(self) -> str:
        """Its name in `remarks.toml`."""
        return f"{self.benchmark}.{self.figure}"

    @property
    def wanted(self) -> str:
        """The bound in words."""
        if self.bound == "reported":
            return "—"
        return f"{'≥' if self.bound == 'at least' else '≤'} {self.shown(self.limit)}"

    def shown(self, value: float) -> str:
        """Return a figure as people read it."""
        return self.form.format(value)

    def is_met(self, value: float) -> bool:
        """Whether a figure is within the bound; one that is only reported always is."""
        if self.bound == "at least":
            return value >= self.limit
        return self.bound == "reported" or value <= self.limit

    def verdict(self, value: float) -> str:
        """Return "met", "missed" or, without a bound, "reported"."""
        if self.bound == "reported":
            return "reported"
        return "met" if self.is_met(value) else "missed"


_COUNT = "{:,.0f}"
_TIMES = "{:.2f}x"
_SHARE = "{:.0%}"
_MS = "{:.2f} ms"
_KB = "{:.1f} KB"
_SECONDS = "{:.2f} s"

TARGETS = (
    Target(
        *("dispatch", "jobs_per_cpu_second_1000", "dispatcher's jobs/s of one core, 1,000 nodes"),
        *("at least", 150_000, _COUNT),
    ),
    Target(
        *("dispatch", "jobs_per_cpu_second_10000", "… 10,000 nodes", "at least", 120_000, _COUNT)
    ),
    Target(
        *("dispatch", "jobs_per_cpu_second_100000", "… 100,000 nodes", "at least", 45_000, _COUNT)
    ),
    Target(
        *("dispatch", "share_of_bare_loop_1000", "its share of the bare loop's, 1,000 nodes"),
        *("at least", 0.75, _SHARE),
    ),
    Target(*("dispatch", "share_of_bare_loop_10000", "… 10,000 nodes", "at least", 0.75, _SHARE)),
    Target(*("dispatch", "share_of_bare_loop_100000", "… 100,000 nodes", "at least", 0.75, _SHARE)),
    Target(
        *("end-to-end", "to_python_relay_256", "CPU per job to the Python relay's, 256 B"),
        *("at most", 2.0, _TIMES),
    ),
    Target("end-to-end", "to_python_relay_44000", "… 44 KB", "at most", 2.0, _TIMES),
    Target("end-to-end", "to_python_relay_500000", "… 500 KB", "reported", 0, _TIMES),
    Target("end-to-end", "to_c_relay_256", "… to the C relay's, 256 B", "reported", 0, _TIMES),
    Target("end-to-end", "to_c_relay_44000", "… 44 KB", "reported", 0, _TIMES),
    Target("end-to-end", "to_c_relay_500000", "… 500 KB", "reported", 0, _TIMES),
    Target(
        *(
            "end-to-end",
            "over_plain_256",
            "jobs per CPU second to the plain scheduler's, 1,000 nodes, 256 B",
        ),
        *("at least", 4.0, _TIMES),
    ),
    Target("end-to-end", "over_plain_44000", "… 44 KB", "at least", 4.0, _TIMES),
    Target("end-to-end", "over_plain_500000", "… 500 KB", "reported", 0, _TIMES),
    Target("few-nodes", "over_plain_256", "… 100 nodes, 256 B", "reported", 0, _TIMES),
    Target(
        *("growth", "gross_growth", "CPU per job with 10,000 nodes to that with 100, all of it"),
        *("at most", 1.15, _TIMES),
    ),
    Target(
        *("growth", "growth", "… what idle nodes cost taken off", "at most", 1.15, _TIMES),
    ),
    Target(
        *("latency", "p50_ms", "added latency at half of saturation, p50"),
        *("at most", 0.5, _MS),
    ),
    Target("latency", "p99_ms", "… p99", "at most", 3.0, _MS),
    Target("idle", "session_kb", "memory for an idle session", "at most", 20, _KB),
    Target("idle", "node_kb", "memory for an idle node", "at most", 40, _KB),
    Target(
        *("idle", "sessions_held", "sessions held at a time, with 1,000 nodes and heartbeats"),
        *("at least", 50_000, _COUNT),
    ),
    Target("start", "ready_seconds", "from start to ready", "at most", 1.5, _SECONDS),
    Target(
        *("readers", "p99_moves", "how far 200 readers/s move the jobs' p99", "at most"),
        *(0.10, "{:.1%}"),
    ),
)


def targets_of(benchmark: str) -> Iterator[Target]:
    """Yield the targets that a benchmark decides."""
    return (target for target in TARGETS if target.benchmark == benchmark)
