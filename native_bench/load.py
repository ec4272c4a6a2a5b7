"""The load driver in C (`native_bench/c`) as benchmarks use it: sessions and nodes in one process.

It opens all sockets, says `ready`, and then does as it is told on its input, a line each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from native_bench.build import driver_path
from native_bench.sites import Site
from scheduler.programs import Program, running


class LoadSettings(Struct, frozen=True, kw_only=True):
    """What the driver plays.

    Without a `rate` (jobs/s, over all sessions, at random times) each session keeps `window` jobs
    on their way. A node answers after `node_delay_us`, with as much audio as it was sent.
    """

    sessions: int
    nodes: int
    window: int = 4
    rate: float = 0.0
    audio_bytes: int = 256
    node_slots: int = 8
    node_delay_us: int = 0
    heartbeat_seconds: float = 5.0
    session_heartbeats: bool = False
    source_addresses: int = 1
    seed: int = 1


class Latency(Struct, frozen=True):
    """Times in ns. `buckets` are those in use, by upper end, with how many fell into each."""

    count: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int
    buckets: list[tuple[int, int]] = []


class Load(Struct, frozen=True):
    """What one `go` came to.

    `retried` utterances were refused as SERVER_BUSY and said again. `late_sends` left over a
    millisecond after they were due. `errors` are by code.
    """

    jobs: int
    failed: int
    lost: int
    late: int
    duplicated: int
    out_of_order: int
    crossed: int
    wrong_audio: int
    closed: int
    retried: int
    errors: dict[str, int]
    seconds: float
    cpu_seconds: float
    late_sends: int
    latency_ns: dict[str, Latency]

    def faults(self, site: Site) -> dict[str, int]:
        """Return what went wrong, by kind; empty where nothing did.

        A relay doesn't put results in order, and doesn't say that it did.
        """
        kinds = ["failed", "lost", "late", "duplicated", "crossed", "wrong_audio", "closed"]
        if site.target == "scheduler":
            kinds.append("out_of_order")
        return {kind: n for kind in kinds if (n := getattr(self, kind))}


class Driver:
    """A running driver."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.pid = program.process.pid

    def go(self, seconds: float) -> Load:
        """Send jobs for so long, wait until all are answered, and return what came of it."""
        self._program.tell(f"go {seconds:g}".encode())
        return msgspec.json.decode(self._program.read_line(), type=Load)

    def hold(self, seconds: float) -> None:
        """Only keep all connected for so long, with heartbeats."""
        self.begin_hold(seconds)
        self.end_hold()

    def begin_hold(self, seconds: float) -> None:
        """Begin that, for `end_hold` to wait for."""
        self._program.tell(f"hold {seconds:g}".encode())

    def end_hold(self) -> None:
        """Wait for the end of `begin_hold`; raise ProgramError where a socket was closed."""
        self._program.read_line()


@contextmanager
def driving(
    folder: Path, site: Site, settings: LoadSettings, name: str = "driver"
) -> Iterator[Driver]:
    """Start a driver against a site; yields it once all nodes are ready and all sessions open."""
    values = {**msgspec.to_builtins(settings), "host": site.host, "port": site.port}
    values |= {"target": site.target, "warmup_seconds": 0}
    options = []
    for key, value in values.items():
        if value is not False:
            options.append(f"--{key.replace('_', '-')}")
            options += [] if value is True else [f"{value}"]
    command = [str(driver_path())]
    with running(folder, name, *options, "--json", command=command, talks=True) as program:
        program.expect(b"ready\n")
        yield Driver(program)
