"""Jobs per second of the dispatcher over real pipes, beside the bare loop, in one run.

The driver plays one gateway that holds all nodes and all sessions, and answers each Assign with a
Result at once. Driver and dispatcher share two cores with whatever else runs on the machine, so
the figure that counts is jobs per second of the dispatcher's own CPU time, and its ratio to the
bare loop's, the two measured in turns.

The bias: one gateway, so batches are as large as they get; all nodes serve one class of jobs; no
job fails. All of that favours the bare loop and the full dispatcher alike.
"""

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from native_bench import results
from native_bench.costs import cpu_seconds
from scheduler.config import Config, LimitSettings, ObservabilitySettings
from scheduler.ipc.boot import BootSpec, write_boot
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.ipc.control import Link, make_control
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import (
    AnnounceDone,
    Assign,
    Deliver,
    NodeAccepted,
    NodeHealth,
    RegisterNode,
    Result,
    Submit,
    ToGateway,
)
from scheduler.selection.services import distinct_classes

CAPACITY = 4
IN_FLIGHT_MAX = 2_000
"""Jobs in flight: enough to keep both ends busy, few enough to fit the pipes."""

BATCH = 250
_ALL_STAGES = 0b111
_DEADLINE_SECONDS = 60.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: so many jobs in a round of each program."""

    nodes: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    jobs: int = 100_000
    rounds: int = 7


@dataclass(frozen=True)
class Sample:
    """One measurement of one program at one size."""

    program: str
    nodes: int
    jobs: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def jobs_per_cpu_second(self) -> float:
        """Jobs per second on one core that does nothing else."""
        return self.jobs / self.cpu_seconds


class Driver:
    """The gateway at the other end of the pipes."""

    def __init__(self, channel: Channel[ToGateway]) -> None:
        self._channel = channel
        self._epoll = select.epoll()
        self._epoll.register(channel.read_fd, select.EPOLLIN)
        self._next = job_key_base(0, 0)

    def register(self, nodes: int, services: list[str]) -> None:
        """Announce the nodes and make them ready."""
        for number in range(nodes):
            self._channel.queue(
                RegisterNode(
                    number, f"node-{number}", "", CAPACITY, True, services, services, 8, 16, 1, 8
                )
            )
            if number % BATCH == 0:
                self._flush()
        self._channel.queue(AnnounceDone())
        self._flush()
        accepted = 0
        while accepted < nodes:
            for record in self._receive():
                if isinstance(record, NodeAccepted):
                    accepted += 1
                    self._channel.queue(NodeHealth(record.node, True, ""))
            self._flush()

    def run(self, jobs: int) -> None:
        """Push `jobs` jobs through; raise RuntimeError when they stop moving."""
        submitted = delivered = 0
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while delivered < jobs:
            room = min(IN_FLIGHT_MAX - (submitted - delivered), jobs - submitted)
            for _ in range(min(room, BATCH)):
                self._next += 1
                self._channel.queue(Submit(self._next, _ALL_STAGES))
                submitted += 1
            self._flush()
            for record in self._receive():
                if isinstance(record, Assign):
                    self._channel.queue(Result(record.job, record.attempt, record.node))
                elif isinstance(record, Deliver):
                    delivered += 1
            if time.monotonic() > deadline:
                raise RuntimeError(f"{delivered} of {jobs} jobs after {_DEADLINE_SECONDS:g} s")

    def _receive(self) -> list[ToGateway]:
        self._epoll.poll(1.0)
        return self._channel.receive()

    def _flush(self) -> None:
        while not self._channel.flush():
            select.select([], [self._channel.write_fd], [], 1.0)


@contextmanager
def bare_loop(nodes: int) -> Iterator[tuple[Driver, int]]:
    """Start the bare loop; yield its driver and its pid."""
    ours, theirs = make_pipes()
    process = subprocess.Popen(
        [sys.executable, "-m", "native_bench.bare_dispatcher", *map(str, theirs), str(nodes)],
        pass_fds=theirs,
    )
    for fd in theirs:
        os.close(fd)
    channel: Channel[ToGateway] = Channel(*ours, ToGateway, queue_bytes_max=1 << 30)
    try:
        yield Driver(channel), process.pid
    finally:
        channel.close()
        process.wait(10)


@contextmanager
def full_dispatcher(nodes: int) -> Iterator[tuple[Driver, int]]:
    """Start the real dispatcher process with its memory; yield its driver and its pid."""
    config = Config(
        limits=LimitSettings(nodes_max=max(nodes, 64)),
        observability=ObservabilitySettings(log_level="error"),
    )
    dimensions = Dimensions(
        gateways=1,
        nodes=config.limits.nodes_max,
        sessions_per_gateway=16,
        classes=distinct_classes(config.scheduler),
    )
    now_ns = time.monotonic_ns()
    segment = Segment.create(
        dimensions, epoch="bench", started_ms=time.time_ns() // 10**6, started_ns=now_ns
    )
    control, their_control = make_control()
    boot = BootSpec(
        role="dispatcher",
        index=0,
        incarnation=0,
        epoch="bench",
        config=config,
        dimensions=dimensions,
        cores=sorted(os.sched_getaffinity(0)),
        supervisor_pid=os.getpid(),
        control_fd=their_control.fileno(),
        segment_fd=segment.fd,
    )
    boot_fd = write_boot(boot)
    process = subprocess.Popen(
        [sys.executable, "-m", "scheduler.dispatch", str(boot_fd)],
        pass_fds=[boot_fd, *boot.inherited_fds],
    )
    os.close(boot_fd)
    their_control.close()
    ours, theirs = make_pipes()
    control.send(Link("gateway", 0, 0), theirs)
    for fd in theirs:
        os.close(fd)
    channel: Channel[ToGateway] = Channel(*ours, ToGateway, queue_bytes_max=1 << 30)
    driver = Driver(channel)
    core = config.scheduler.core_services
    driver.register(nodes, [core.asr_service_id, core.nmt_service_id, core.tts_service_id])
    try:
        yield driver, process.pid
    finally:
        control.close()
        channel.close()
        process.wait(10)
        segment.close()


PROGRAMS = {"bare loop": bare_loop, "dispatcher": full_dispatcher}


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> results.Result:
    """Measure with each number of nodes; `tell` is told in words how far it is."""
    samples = []
    for nodes in settings.nodes:
        tell(f"{nodes:,} nodes")
        samples += measure_size(nodes, settings.jobs, settings.rounds)
    return make_report(settings, samples)


def measure_size(nodes: int, jobs: int, rounds: int) -> list[Sample]:
    """Measure both programs `rounds` times in turns, after one round to warm up each."""
    samples = []
    with bare_loop(nodes) as bare, full_dispatcher(nodes) as full:
        for round_number in range(rounds + 1):
            for program, (driver, pid) in zip(PROGRAMS, (bare, full), strict=True):
                cpu, wall = cpu_seconds(pid), time.perf_counter()
                driver.run(jobs)
                sample = Sample(
                    program,
                    nodes,
                    jobs,
                    round(cpu_seconds(pid) - cpu, 6),
                    round(time.perf_counter() - wall, 6),
                )
                if round_number:
                    samples.append(sample)
    return samples


def median_rate(samples: list[Sample], program: str) -> float:
    """Return the median jobs per CPU-second of one program."""
    return statistics.median(s.jobs_per_cpu_second for s in samples if s.program == program)


def make_report(settings: Settings, samples: list[Sample]) -> results.Result:
    """Return what the samples come to."""
    figures: dict[str, float] = {}
    rows = []
    for nodes in settings.nodes:
        own = [sample for sample in samples if sample.nodes == nodes]
        bare, full = (median_rate(own, program) for program in PROGRAMS)
        wall = statistics.median(s.jobs / s.wall_seconds for s in own if s.program == "dispatcher")
        figures[f"jobs_per_cpu_second_{nodes}"] = full
        figures[f"share_of_bare_loop_{nodes}"] = full / bare
        rows.append(
            (f"{nodes:,}", f"{bare:,.0f}", f"{full:,.0f}", f"{full / bare:.0%}", f"{wall:,.0f}")
        )
    headings = (
        *("nodes", "bare loop jobs/s", "dispatcher jobs/s", "share"),
        "dispatcher, jobs/s by the clock",
    )
    note = f"{results.over_rounds(settings.rounds)}; but for the last, by each program's CPU time"
    return results.make_result(
        "dispatch",
        settings=settings,
        figures=figures,
        tables=[results.Figures("dispatcher over pipes", headings, rows, note)],
        doubts=[],
        samples=samples,
    )
