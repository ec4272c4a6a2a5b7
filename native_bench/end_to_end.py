"""What a job costs from socket to socket, beside the rivals, in one run.

The driver in C plays sessions and nodes at saturation: as many sessions as nodes keep a job on its
way each, nodes answer at once. With more for each session, the relays would find several messages
at a time on a socket, for they keep to one node a session where a scheduler spreads the jobs. An
utterance of 256 B is all overhead, one of 44 KB is 1 s of speech, one of 500 KB is 12 s. Of those
that long only as many are on their way as make up 64 MB, so there are fewer sessions.

In each round every program is started anew and measured once with each length of audio, in an
order drawn anew. The figure that counts is the CPU time of all of a program's processes for each
job, and its ratio to the rivals' of the same round; jobs per second by the clock depend on how
many cores the driver leaves over.

The bias: at saturation many messages come at a time, so that programs read, write and hand over
many at once; at a low load a job costs each of them more. The relays send two messages for a job,
the scheduler and the plain one five, for the protocol has three events on the way to a result. All
nodes serve one class of jobs, and no job fails. Loopback has no cost of a network card.

The plain scheduler looks at all nodes in Python for each job. With 1,000 nodes that is some four
fifths of what a job costs it: its ratio is mostly that of a search to rows kept ready, and grows
with the nodes. With 100 nodes and 500 sessions it is about 2x for 256 B, not 8x; `few-nodes`
measures that.
"""

import random
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from native_bench.costs import CpuWatch
from native_bench.load import LoadSettings, driving
from native_bench.results import Figures, Result, make_result, over_rounds
from native_bench.sites import C_RELAY, ONE_GATEWAY, PLAIN, PYTHON_RELAY, SITES, TWO_GATEWAYS

OURS = (ONE_GATEWAY, TWO_GATEWAYS)

ON_THEIR_WAY_BYTES_MAX = 64_000_000
"""Audio of all sessions that is on its way to nodes at a time; as much comes back."""


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured. `text_bytes` are lengths of the audio as it is sent, in base64."""

    programs: tuple[str, ...] = tuple(SITES)
    text_bytes: tuple[int, ...] = (256, 44_000, 500_000)
    nodes: int = 1_000
    sessions: int = 1_000
    window: int = 1
    rounds: int = 5
    warmup_seconds: float = 1.0
    seconds: float = 3.0
    seed: int = 1


class Sample(Struct, frozen=True):
    """One program in one round with one length of audio; `cpu_seconds` by its processes."""

    program: str
    round: int
    text_bytes: int
    jobs: int
    seconds: float
    cpu_seconds: dict[str, float]
    driver_cpu_seconds: float
    retried: int
    faults: dict[str, int]

    @property
    def job_us(self) -> float:
        """CPU time of all processes for a job."""
        return sum(self.cpu_seconds.values()) / self.jobs * 1e6


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run all rounds; `tell` is told in words how far it is.

    Raises ProgramError where a program fails.
    """
    draw = random.Random(settings.seed)
    turns = [(program, size) for program in settings.programs for size in settings.text_bytes]
    samples = []
    for number in range(settings.rounds):
        for done, (program, size) in enumerate(draw.sample(turns, len(turns))):
            tell(f"round {number + 1} of {settings.rounds}, {done} of {len(turns)}: {program}")
            samples.append(_measure_one(settings, number, program, size))
    return make_report(settings, samples)


def _measure_one(settings: Settings, number: int, program: str, text_bytes: int) -> Sample:
    load = LoadSettings(
        sessions=sessions_with(settings, text_bytes),
        nodes=settings.nodes,
        window=settings.window,
        audio_bytes=audio_bytes(text_bytes),
        seed=settings.seed + number,
    )
    with (
        TemporaryDirectory(prefix="lingua-bench-") as name,
        SITES[program](Path(name), settings.nodes) as site,
        driving(Path(name), site, load) as driver,
    ):
        warm = driver.go(settings.warmup_seconds)
        watch = CpuWatch(site.pids)
        found = driver.go(settings.seconds)
        return Sample(
            program,
            number,
            text_bytes,
            found.jobs,
            round(found.seconds, 3),
            watch.used(),
            round(found.cpu_seconds, 3),
            found.retried,
            {**warm.faults(site), **found.faults(site)},
        )


def make_report(settings: Settings, samples: list[Sample]) -> Result:
    """Return what the samples come to."""
    figures = {}
    for size in settings.text_bytes:
        for name, program, rival, rival_on_top in (
            ("to_python_relay", ONE_GATEWAY, PYTHON_RELAY, False),
            ("to_c_relay", ONE_GATEWAY, C_RELAY, False),
            ("over_plain", ONE_GATEWAY, PLAIN, True),
        ):
            ratios = ratios_of(samples, size, program, rival)
            if ratios:
                ratio = statistics.median(ratios)
                figures[f"{name}_{size}"] = 1 / ratio if rival_on_top else ratio
    return make_result(
        "end-to-end",
        settings=settings,
        figures=figures,
        tables=[
            *(_costs_table(settings, samples, size) for size in settings.text_bytes),
            *(_split_table(settings, samples, size) for size in settings.text_bytes),
        ],
        doubts=list(doubts(samples)),
        samples=samples,
    )


def ratios_of(samples: list[Sample], text_bytes: int, program: str, rival: str) -> list[float]:
    """Return the CPU time of a job to the rival's, of each round that has both."""
    costs = {
        (sample.program, sample.round): sample.job_us
        for sample in samples
        if sample.text_bytes == text_bytes
    }
    rounds = sorted({number for _, number in costs})
    return [
        costs[program, number] / costs[rival, number]
        for number in rounds
        if (program, number) in costs and (rival, number) in costs
    ]


def doubts(samples: list[Sample]) -> list[str]:
    """Return why the figures may not mean what they seem to."""
    return [
        f"{sample.program}, {sample.text_bytes} B, round {sample.round}: {kind} {count}"
        for sample in samples
        for kind, count in (*sample.faults.items(), ("retried", sample.retried))
        if count
    ]


def sessions_with(settings: Settings, text_bytes: int) -> int:
    """Return how many sessions there are where each says utterances of such a length."""
    most = ON_THEIR_WAY_BYTES_MAX // (text_bytes * settings.window)
    return max(1, min(settings.sessions, most))


def audio_bytes(text_bytes: int) -> int:
    """Return the audio of which the base64 is so long."""
    return text_bytes * 3 // 4


def size_name(text_bytes: int) -> str:
    """Return a length of audio for people."""
    return f"{text_bytes} B" if text_bytes < 1_000 else f"{text_bytes / 1_000:g} KB"


def _costs_table(settings: Settings, samples: list[Sample], size: int) -> Figures:
    rows = []
    for program in settings.programs:
        own = [s for s in samples if s.program == program and s.text_bytes == size]
        rows.append(
            (
                program,
                f"{statistics.median(s.jobs / s.seconds for s in own):,.0f}",
                f"{statistics.median(s.job_us for s in own):.1f}",
                f"{1e6 / statistics.median(s.job_us for s in own):,.0f}",
                _spread(ratios_of(samples, size, program, PYTHON_RELAY)),
                _spread(ratios_of(samples, size, program, C_RELAY)),
                _spread(ratios_of(samples, size, PLAIN, program)),
                f"{statistics.median(s.driver_cpu_seconds / s.jobs for s in own) * 1e6:.1f}",
            )
        )
    return Figures(
        f"a job of {size_name(size)}, {settings.nodes:,} nodes, "
        f"{sessions_with(settings, size):,} sessions",
        (
            *("program", "jobs/s", "CPU µs/job", "jobs/CPU s", "to Python relay", "to C relay"),
            *("plain to it", "driver's µs/job"),
        ),
        rows,
        f"{over_rounds(settings.rounds)}; ratios of CPU time per job, least to greatest of the "
        "rounds",
    )


def _split_table(settings: Settings, samples: list[Sample], size: int) -> Figures:
    rows = []
    for program in settings.programs:
        own = [s for s in samples if s.program == program and s.text_bytes == size]
        if program in OURS:
            rows += [
                (
                    f"{program}: {process}",
                    f"{statistics.median(s.cpu_seconds[process] / s.jobs for s in own) * 1e6:.2f}",
                    f"{statistics.median(s.cpu_seconds[process] / s.seconds for s in own):.0%}",
                )
                for process in own[0].cpu_seconds
            ]
    return Figures(
        f"the scheduler's processes, {size_name(size)}",
        ("process", "CPU µs/job", "of a core"),
        rows,
    )


def _spread(ratios: list[float]) -> str:
    if not ratios:
        return "—"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
