"""How long a job waits in the scheduler, from the utterance sent to the job_assign at its node.

First the saturation is looked for, with sessions that keep a few jobs on their way. Then jobs come
at a share of that, at random times, whatever comes back. The bare relay in Python gets the same
rate in turns with the scheduler: what it takes is loopback, the driver and the cores that all
share, and none of it is a scheduler's doing.

The bias: the driver measures, and its own delay is in the times. It shares the machine's cores
with what it measures, so that at half of the scheduler's saturation the machine is more than half
busy. An utterance that the driver sends late counts from when it was sent; how many were late
stands in the samples. How long each process waited for a core although it could have run, which the
kernel counts, is part of the times.
"""

import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from native_bench.costs import CoreTimes, CoreWatch, CpuWatch
from native_bench.end_to_end import audio_bytes
from native_bench.load import Latency, LoadSettings, driving
from native_bench.results import Figures, Result, make_result, over_rounds
from native_bench.sites import ONE_GATEWAY, PYTHON_RELAY, SITES

ADDED = "submit_to_assign"
"""The driver's name of the time that a target is for."""

TIMES = (ADDED, "result_to_reply", "submit_to_reply")
"""Those of the driver's times that are kept."""

_LATE_SHARE_MAX = 0.01


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured. `share` is the rate's of the saturation."""

    programs: tuple[str, ...] = (ONE_GATEWAY, PYTHON_RELAY)
    nodes: int = 1_000
    sessions: int = 250
    window: int = 4
    text_bytes: int = 256
    share: float = 0.5
    rounds: int = 5
    saturation_seconds: float = 3.0
    warmup_seconds: float = 1.0
    seconds: float = 8.0
    node_delay_us: int = 0
    seed: int = 1


class Sample(Struct, frozen=True):
    """One program in one round at the rate; `times` as the driver calls them.

    `core_times` are of its processes and of the driver; empty where they were not taken.
    """

    program: str
    round: int
    rate: float
    jobs: int
    seconds: float
    late_sends: int
    cpu_seconds: dict[str, float]
    driver_cpu_seconds: float
    faults: dict[str, int]
    times: dict[str, Latency]
    core_times: dict[str, CoreTimes] = {}


class Samples(Struct, frozen=True):
    """All of a run."""

    saturation_jobs_per_second: list[float]
    samples: list[Sample]


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Find the saturation, then run all rounds; `tell` is told in words how far it is.

    Raises ProgramError where a program fails.
    """
    saturations = []
    for number in range(3):
        tell(f"saturation, {number + 1} of 3")
        saturations.append(_saturation(settings, number))
    rate = statistics.median(saturations) * settings.share
    draw = random.Random(settings.seed)
    samples = []
    for number in range(settings.rounds):
        for program in draw.sample(settings.programs, len(settings.programs)):
            tell(f"round {number + 1} of {settings.rounds}: {program} at {rate:,.0f} jobs/s")
            samples.append(_measure_one(settings, number, program, rate))
    return make_report(settings, Samples([round(s, 1) for s in saturations], samples))


def _load(settings: Settings, number: int, rate: float) -> LoadSettings:
    return LoadSettings(
        sessions=settings.sessions,
        nodes=settings.nodes,
        window=settings.window,
        rate=round(rate, 1),
        audio_bytes=audio_bytes(settings.text_bytes),
        node_delay_us=settings.node_delay_us,
        seed=settings.seed + number,
    )


def _saturation(settings: Settings, number: int) -> float:
    with (
        TemporaryDirectory(prefix="lingua-bench-") as name,
        SITES[ONE_GATEWAY](Path(name), settings.nodes) as site,
        driving(Path(name), site, _load(settings, number, 0)) as driver,
    ):
        driver.go(settings.warmup_seconds)
        found = driver.go(settings.saturation_seconds)
        return found.jobs / found.seconds


def _measure_one(settings: Settings, number: int, program: str, rate: float) -> Sample:
    with (
        TemporaryDirectory(prefix="lingua-bench-") as name,
        SITES[program](Path(name), settings.nodes) as site,
        driving(Path(name), site, _load(settings, number, rate)) as driver,
    ):
        warm = driver.go(settings.warmup_seconds)
        watch = CpuWatch(site.pids)
        core_watch = CoreWatch({**site.pids, "driver": driver.pid})
        found = driver.go(settings.seconds)
        return Sample(
            program,
            number,
            round(rate, 1),
            found.jobs,
            round(found.seconds, 3),
            found.late_sends,
            watch.used(),
            round(found.cpu_seconds, 3),
            {**warm.faults(site), **found.faults(site)},
            {name: found.latency_ns[name] for name in TIMES},
            core_watch.times(),
        )


def make_report(settings: Settings, taken: Samples) -> Result:
    """Return what the samples come to."""
    ours = [sample for sample in taken.samples if sample.program == ONE_GATEWAY]
    figures = {
        "rate": statistics.median(sample.rate for sample in ours),
        "p50_ms": _median_ms(ours, ADDED, "p50"),
        "p99_ms": _median_ms(ours, ADDED, "p99"),
    }
    relays = [sample for sample in taken.samples if sample.program == PYTHON_RELAY]
    if relays:
        figures |= {
            "relay_p50_ms": _median_ms(relays, ADDED, "p50"),
            "relay_p99_ms": _median_ms(relays, ADDED, "p99"),
        }
    return make_result(
        "latency",
        settings=settings,
        figures=figures,
        tables=[_table(settings, taken), *_waits_table(settings, taken)],
        doubts=list(_doubts(taken.samples)),
        samples=[taken],
    )


def _median_ms(samples: list[Sample], name: str, percentile: str) -> float:
    values: list[int] = [getattr(s.times[name], percentile) for s in samples]
    return statistics.median(values) / 1e6


def _doubts(samples: list[Sample]) -> list[str]:
    found = [
        f"{sample.program}, round {sample.round}: {kind} {count}"
        for sample in samples
        for kind, count in sample.faults.items()
    ]
    late = sum(sample.late_sends > sample.jobs * _LATE_SHARE_MAX for sample in samples)
    if late:
        found.append(
            f"the driver sent over {_LATE_SHARE_MAX:.0%} of the utterances late in {late} of "
            f"{len(samples)} measurements"
        )
    return found


def _table(settings: Settings, taken: Samples) -> Figures:
    rows = []
    for program in settings.programs:
        own = [sample for sample in taken.samples if sample.program == program]
        busy = statistics.median(
            (sum(s.cpu_seconds.values()) + s.driver_cpu_seconds) / s.seconds for s in own
        )
        for name in TIMES:
            rows.append(  # noqa: PERF401 - a row is too much for a comprehension
                (
                    program,
                    name.replace("_", " "),
                    *(
                        f"{_median_ms(own, name, percentile):.3f}"
                        for percentile in ("p50", "p90", "p99", "p999", "max")
                    ),
                    f"{busy:.2f}",
                )
            )
    saturation = statistics.median(taken.saturation_jobs_per_second)
    return Figures(
        f"times at {saturation * settings.share:,.0f} jobs/s, {settings.share:.0%} of saturation",
        ("program", "time", "p50 ms", "p90", "p99", "p99.9", "greatest", "cores busy"),
        rows,
        f"{over_rounds(settings.rounds)}; the driver's own use of the cores is among the last",
    )


def _waits_table(settings: Settings, taken: Samples) -> Iterator[Figures]:
    """Yield how long processes waited for a core, where that was taken."""
    rows = []
    for program in settings.programs:
        own = [s for s in taken.samples if s.program == program and s.core_times]
        for process in own[0].core_times if own else ():
            found = [(sample, sample.core_times[process]) for sample in own]
            rows.append(
                (
                    f"{program}: {process}",
                    f"{statistics.median(t.ran_ns / s.seconds for s, t in found) / 1e9:.0%}",
                    f"{statistics.median(t.waited_ns / s.seconds for s, t in found) / 1e6:.1f}",
                    f"{statistics.median(t.waited_ns / s.jobs for s, t in found) / 1e3:.1f}",
                    f"{statistics.median(t.slices / s.seconds for s, t in found):,.0f}",
                    f"{statistics.median(_wait_ns(t) for _, t in found) / 1e3:.1f}",
                )
            )
    if rows:
        yield Figures(
            "waiting for a core",
            (
                *("process", "of a core", "ms waited/s", "µs waited/job", "times it got one/s"),
                "µs waited for each",
            ),
            rows,
            f"{over_rounds(settings.rounds)}; the kernel's count (schedstat)",
        )


def _wait_ns(times: CoreTimes) -> float:
    """Return how long a process waited each time until it got a core, on average."""
    return times.waited_ns / times.slices if times.slices else 0.0
