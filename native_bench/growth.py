"""Whether a job costs more where there are more nodes: CPU time per job at several node counts.

In each round the scheduler is started anew with each number of nodes, in an order drawn anew. The
load is the same each time: as many sessions, as many jobs on their way. Heartbeats of 10,000 nodes
cost something that isn't the jobs'; what the processes use while no job runs is measured before
the jobs. There is a figure with it, all that was used by the number of jobs, and one without.

The bias: all nodes are alike and equally free. The kernel's work for more sockets is in both
figures, because the processes are charged for it; with as many jobs on their way as here, a few
nodes have several at a time on a socket, many nodes one. At rest each heartbeat wakes a process for
itself alone, under load many are taken in one turn of its loop: taking off what they cost at rest
takes off too much, so the truth about the jobs alone lies between the two figures.
"""

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from native_bench.costs import CpuWatch
from native_bench.end_to_end import audio_bytes
from native_bench.load import LoadSettings, driving
from native_bench.results import Figures, Result, make_result, over_rounds
from native_bench.sites import scheduler


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured. The heartbeats are as far apart as the scheduler's default expects."""

    nodes: tuple[int, ...] = (100, 1_000, 10_000)
    text_bytes: int = 256
    sessions: int = 100
    window: int = 4
    rounds: int = 5
    heartbeat_seconds: float = 15.0
    idle_seconds: float = 15.0
    warmup_seconds: float = 1.0
    seconds: float = 5.0
    seed: int = 1


class Sample(Struct, frozen=True):
    """One round with one number of nodes; CPU times by process."""

    nodes: int
    round: int
    jobs: int
    seconds: float
    cpu_seconds: dict[str, float]
    idle_seconds: float
    idle_cpu_seconds: dict[str, float]
    faults: dict[str, int]

    @property
    def idle_share(self) -> float:
        """Cores in use while no job runs."""
        return sum(self.idle_cpu_seconds.values()) / self.idle_seconds


def gross_us(sample: Sample) -> float:
    """Return the CPU time per job, with all that the processes did meanwhile."""
    return sum(sample.cpu_seconds.values()) / sample.jobs * 1e6


def net_us(sample: Sample) -> float:
    """Return the CPU time per job, without what idle nodes cost."""
    return gross_us(sample) - sample.idle_share * sample.seconds / sample.jobs * 1e6


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run all rounds; `tell` is told in words how far it is.

    Raises ProgramError where a program fails.
    """
    draw = random.Random(settings.seed)
    samples = []
    for number in range(settings.rounds):
        for nodes in draw.sample(settings.nodes, len(settings.nodes)):
            tell(f"round {number + 1} of {settings.rounds}: {nodes:,} nodes")
            samples.append(_measure_one(settings, number, nodes))
    return make_report(settings, samples)


def _measure_one(settings: Settings, number: int, nodes: int) -> Sample:
    load = LoadSettings(
        sessions=settings.sessions,
        nodes=nodes,
        window=settings.window,
        audio_bytes=audio_bytes(settings.text_bytes),
        heartbeat_seconds=settings.heartbeat_seconds,
        seed=settings.seed + number,
    )
    with (
        TemporaryDirectory(prefix="lingua-bench-") as name,
        scheduler(Path(name), nodes) as site,
        driving(Path(name), site, load) as driver,
    ):
        warm = driver.go(settings.warmup_seconds)
        idle = CpuWatch(site.pids)
        began = time.monotonic()
        driver.hold(settings.idle_seconds)
        idle_seconds, idle_cpu = time.monotonic() - began, idle.used()
        watch = CpuWatch(site.pids)
        found = driver.go(settings.seconds)
        return Sample(
            nodes,
            number,
            found.jobs,
            round(found.seconds, 3),
            watch.used(),
            round(idle_seconds, 3),
            idle_cpu,
            {**warm.faults(site), **found.faults(site)},
        )


def make_report(settings: Settings, samples: list[Sample]) -> Result:
    """Return what the samples come to."""
    least, most = min(settings.nodes), max(settings.nodes)
    return make_result(
        "growth",
        settings=settings,
        figures={
            "gross_growth": statistics.median(ratios_of(samples, least, most, gross_us)),
            "growth": statistics.median(ratios_of(samples, least, most, net_us)),
        },
        tables=[_table(settings, samples)],
        doubts=[
            f"{sample.nodes} nodes, round {sample.round}: {kind} {count}"
            for sample in samples
            for kind, count in sample.faults.items()
        ],
        samples=samples,
    )


def ratios_of(
    samples: list[Sample], least: int, most: int, cost: Callable[[Sample], float]
) -> list[float]:
    """Return the ratio of the costs with `most` and `least` nodes, for each round."""
    costs = {(sample.nodes, sample.round): cost(sample) for sample in samples}
    rounds = sorted({sample.round for sample in samples})
    return [costs[most, number] / costs[least, number] for number in rounds]


def _table(settings: Settings, samples: list[Sample]) -> Figures:
    least = min(settings.nodes)
    rows = []
    for nodes in settings.nodes:
        own = [sample for sample in samples if sample.nodes == nodes]
        rows.append(
            (
                f"{nodes:,}",
                f"{statistics.median(s.jobs / s.seconds for s in own):,.0f}",
                f"{statistics.median(map(gross_us, own)):.1f}",
                _spread(ratios_of(samples, least, nodes, gross_us)),
                f"{statistics.median(s.idle_share for s in own):.1%}",
                f"{statistics.median(map(net_us, own)):.1f}",
                _spread(ratios_of(samples, least, nodes, net_us)),
            )
        )
    return Figures(
        f"cost of a job by number of nodes, {settings.text_bytes} B",
        (
            *("nodes", "jobs/s", "CPU µs/job", f"to {least:,} nodes", "idle, of a core"),
            *("µs/job, idle cost taken off", f"its to {least:,} nodes"),
        ),
        rows,
        f"{over_rounds(settings.rounds)}, least to greatest of them; heartbeats every "
        f"{settings.heartbeat_seconds:g} s",
    )


def _spread(growth: list[float]) -> str:
    return f"{statistics.median(growth):.2f} ({min(growth):.2f} to {max(growth):.2f})"
