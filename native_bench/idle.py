"""What sessions and nodes cost that only stay connected, and how many of them are held.

Memory: some sessions and nodes connect first, so that all code has run. Then many more of one kind
connect; what all processes of the scheduler have more by that, for each, is the figure. It is
their proportional set size, which counts memory that they share once.

Held: as many sessions as wanted stay connected to several gateways for a while, with nodes and
with heartbeats of both. Held is the least number that the scheduler had at a time meanwhile. Jobs
for all of them afterwards show that they are not just open.

The bias: the kernel's own memory for sockets is not in the figures; nobody is charged for it. A
session that has spoken costs more than one that only connected. How many sockets a process may
have open (`ulimit -Hn`) decides how many gateways and drivers it takes: that many are started,
whatever the number of cores.
"""

import math
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import Struct

from native_bench.costs import CpuWatch, memory_bytes
from native_bench.load import Driver, LoadSettings, driving
from native_bench.results import Figures, Result, make_result, over_rounds
from native_bench.sites import Site, scheduler
from scheduler.protocol.status import Status

OTHER_FILES = 500
"""Descriptors of a process besides the sockets that are counted here, with some to spare."""

SPREAD = 1.3
"""A gateway may get so many times its share of the sockets: whoever is idle accepts them."""

PORTS_PER_ADDRESS = 20_000
"""Sockets from one address to one port; Linux has 28,000 by default."""

_LOOK_SECONDS = 0.5


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured. Nodes' heartbeats are `heartbeat_seconds` apart, sessions' as well."""

    first_sessions: int = 200
    first_nodes: int = 100
    more_sessions: int = 5_000
    more_nodes: int = 2_000
    settle_seconds: float = 8.0
    rounds: int = 3
    held_sessions: int = 50_000
    held_nodes: int = 1_000
    heartbeat_seconds: float = 15.0
    hold_seconds: float = 60.0
    go_seconds: float = 3.0
    open_files_max: int = 0
    """Of a process; 0: what the machine allows."""


class MemorySample(Struct, frozen=True):
    """What `more` of a `kind` added to all processes of the scheduler, in bytes."""

    kind: str
    more: int
    pss_bytes: int
    rss_bytes: int


class HeldSample(Struct, frozen=True):
    """What was held: the least numbers at a time, and what it cost."""

    gateways: int
    drivers: int
    open_files_max: int
    sessions: int
    nodes: int
    seconds: float
    connections_by_gateway: list[int]
    cores_busy: float
    pss_bytes: int
    jobs_afterwards: int
    faults: dict[str, int]


class Samples(Struct, frozen=True):
    """All of a run."""

    memory: list[MemorySample]
    held: HeldSample


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Measure memory, then hold; `tell` is told in words how far it is.

    Raises ProgramError where a program fails.
    """
    memory = []
    for number in range(settings.rounds):
        for kind in ("session", "node"):
            tell(f"memory, round {number + 1} of {settings.rounds}: {kind}s")
            memory.append(_measure_memory(settings, kind))
    tell(f"holding {settings.held_sessions:,} sessions")
    return make_report(settings, Samples(memory, _hold(settings)))


def _measure_memory(settings: Settings, kind: str) -> MemorySample:
    sessions, nodes = (settings.more_sessions, 0) if kind == "session" else (1, settings.more_nodes)
    first = LoadSettings(sessions=settings.first_sessions, nodes=settings.first_nodes)
    more = LoadSettings(sessions=sessions, nodes=nodes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lingua-bench-")))
        room = settings.first_nodes + settings.more_nodes
        site = stack.enter_context(scheduler(folder, room))
        stack.enter_context(driving(folder, site, first, "first")).go(1)
        time.sleep(settings.settle_seconds)
        before = memory_bytes(site.pids)
        stack.enter_context(driving(folder, site, more, "more"))
        time.sleep(settings.settle_seconds)
        after = memory_bytes(site.pids)
        return MemorySample(
            kind, max(sessions, nodes), after["pss"] - before["pss"], after["rss"] - before["rss"]
        )


class Split(Struct, frozen=True):
    """How many processes it takes for a number of sockets."""

    gateways: int
    drivers: int
    addresses: int


def split(sockets: int, open_files_max: int) -> Split:
    """Return what it takes where a process may have so many files open."""
    room = open_files_max - OTHER_FILES
    drivers = math.ceil(sockets / room)
    return Split(
        gateways=math.ceil(sockets * SPREAD / room),
        drivers=drivers,
        addresses=math.ceil(sockets / PORTS_PER_ADDRESS),
    )


def _open_files_max(settings: Settings) -> int:
    if settings.open_files_max:
        return settings.open_files_max
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def _hold(settings: Settings) -> HeldSample:
    files = _open_files_max(settings)
    parts = split(settings.held_sessions + settings.held_nodes, files)
    room = {"limits.sessions_per_gateway_max": files, "limits.connections_per_gateway_max": files}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lingua-bench-")))
        site = stack.enter_context(
            scheduler(folder, settings.held_nodes, gateways=parts.gateways, settings=room)
        )
        drivers = [
            stack.enter_context(driving(folder, site, load, f"driver-{number}"))
            for number, load in enumerate(_loads(settings, parts))
        ]
        watch, began = CpuWatch(site.pids), time.monotonic()
        sessions, nodes = _least(site, drivers, settings.hold_seconds)
        seconds = time.monotonic() - began
        cores_busy = sum(watch.used().values()) / seconds
        pss_bytes = memory_bytes(site.pids)["pss"]
        found = [driver.go(settings.go_seconds) for driver in drivers]
        return HeldSample(
            gateways=parts.gateways,
            drivers=parts.drivers,
            open_files_max=files,
            sessions=sessions,
            nodes=nodes,
            seconds=round(seconds, 1),
            connections_by_gateway=_counts(site, "connections"),
            cores_busy=round(cores_busy, 3),
            pss_bytes=pss_bytes,
            jobs_afterwards=sum(load.jobs for load in found),
            faults={kind: n for load in found for kind, n in load.faults(site).items()},
        )


def _loads(settings: Settings, parts: Split) -> list[LoadSettings]:
    """Return what each driver plays; the nodes are the first one's."""
    sockets = settings.held_sessions + settings.held_nodes
    shares = [len(part) for part in np.array_split(np.arange(sockets), parts.drivers)]
    return [
        LoadSettings(
            sessions=share if number else share - settings.held_nodes,
            nodes=0 if number else settings.held_nodes,
            window=1,
            heartbeat_seconds=settings.heartbeat_seconds,
            session_heartbeats=True,
            source_addresses=parts.addresses,
            seed=number + 1,
        )
        for number, share in enumerate(shares)
    ]


def _least(site: Site, drivers: list[Driver], seconds: float) -> tuple[int, int]:
    """Return the least numbers of sessions and of ready nodes in so many seconds.

    The drivers must be told to hold meanwhile: heartbeats come from their loops.
    """
    for driver in drivers:
        driver.begin_hold(seconds)
    looks = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        looks.append((sum(_counts(site, "sessions")), _ready_nodes(site)))
        time.sleep(_LOOK_SECONDS)
    for driver in drivers:
        driver.end_hold()
    return min(sessions for sessions, _ in looks), min(nodes for _, nodes in looks)


def _counts(site: Site, name: str) -> list[int]:
    return [int(count) for count in site.views_of_scheduler.column("gateway_counters", name)]


def _ready_nodes(site: Site) -> int:
    return int((site.views_of_scheduler.column("nodes", "status") == Status.READY).sum())


def make_report(settings: Settings, taken: Samples) -> Result:
    """Return what the samples come to."""
    held = taken.held
    figures = {"sessions_held": float(held.sessions)}
    rows = []
    for kind in ("session", "node"):
        own = [sample for sample in taken.memory if sample.kind == kind]
        pss, rss = (
            statistics.median(getattr(s, name) / s.more for s in own) / 1e3
            for name in ("pss_bytes", "rss_bytes")
        )
        figures[f"{kind}_kb"] = pss
        rows.append((f"idle {kind}", f"{own[0].more:,}", f"{pss:.1f}", f"{rss:.1f}"))
    return make_result(
        "idle",
        settings=settings,
        figures=figures,
        tables=[
            Figures(
                "memory, all processes of the scheduler",
                ("each", "added", "KB (PSS)", "KB (RSS)"),
                rows,
                f"{over_rounds(settings.rounds)}; RSS counts shared pages in each process",
            ),
            _held_table(held),
        ],
        doubts=list(_doubts(settings, held)),
        samples=[taken],
    )


def _held_table(held: HeldSample) -> Figures:
    rows = [
        ("sessions at least", f"{held.sessions:,}"),
        ("ready nodes at least", f"{held.nodes:,}"),
        ("for", f"{held.seconds:.0f} s"),
        ("gateways", f"{held.gateways}"),
        ("their connections", ", ".join(f"{n:,}" for n in held.connections_by_gateway)),
        ("open files allowed to each", f"{held.open_files_max:,}"),
        ("cores in use by the scheduler", f"{held.cores_busy:.2f}"),
        ("memory of the scheduler, PSS", f"{held.pss_bytes / 1e6:,.0f} MB"),
        ("jobs right afterwards", f"{held.jobs_afterwards:,}"),
    ]
    return Figures("connections held", ("", ""), rows)


def _doubts(settings: Settings, held: HeldSample) -> list[str]:
    found = [f"jobs afterwards: {kind} {count}" for kind, count in held.faults.items()]
    if held.nodes < settings.held_nodes:
        found.append(f"only {held.nodes} of {settings.held_nodes} nodes were ready throughout")
    return found
