"""Programs that carry jobs from sessions to nodes and back: the scheduler and its rivals.

Each serves on a port of loopback while its block lasts, in processes that are known by name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from native_bench.build import relay_path
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.programs import Program, running, running_scheduler

RATE_MAX = 1_000_000
"""Messages per second of one connection: the load is not to be refused."""

ARENA_BYTES = 256 << 20

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Site:
    """Where a program serves, and its processes."""

    host: str
    port: int
    target: str
    """What the driver calls this kind of program."""
    pids: dict[str, int] = field(default_factory=dict)
    views: Views | None = None
    """The scheduler's memory, where it is one."""

    @property
    def views_of_scheduler(self) -> Views:
        """The scheduler's memory; raises TypeError where it is none."""
        if self.views is None:
            raise TypeError("only the scheduler has memory to look at")
        return self.views


StartSite = Callable[[Path, int], AbstractContextManager[Site]]


@contextmanager
def scheduler(
    folder: Path, nodes: int, *, gateways: int = 1, settings: Settings | None = None
) -> Iterator[Site]:
    """Start the scheduler with room for `nodes` nodes and no limits that a load would meet."""
    limits: Settings = {
        "gateways": gateways,
        "limits.nodes_max": max(nodes, 64),
        "limits.messages_per_second_max": RATE_MAX,
        "limits.node_messages_per_second_max": RATE_MAX,
        "limits.arena_bytes": ARENA_BYTES,
    }
    with running_scheduler(folder, {**limits, **(settings or {})}) as endpoints:
        host, _, port = endpoints.public.rpartition(":")
        with closing(Segment.open(folder / "runtime" / "memory")) as segment:
            pids = scheduler_pids(segment.views, endpoints.pid)
            yield Site(host, int(port), "scheduler", pids, segment.views)


def scheduler_pids(views: Views, supervisor_pid: int) -> dict[str, int]:
    """Return the processes of a running scheduler by their names."""
    pids = [int(pid) for pid in views.column("processes", "pid")]
    return {
        "supervisor": supervisor_pid,
        "dispatcher": pids[DISPATCHER_ROW],
        "stats": pids[STATS_ROW],
        **{f"gateway {number}": pid for number, pid in enumerate(pids[FIRST_GATEWAY_ROW:])},
    }


@contextmanager
def python_relay(folder: Path, nodes: int) -> Iterator[Site]:  # noqa: ARG001 - as the others
    """Start the bare relay in Python."""
    with running(folder, "relay", "native_bench.relay", talks=True) as program:
        yield _single(program, "relay")


@contextmanager
def c_relay(folder: Path, nodes: int) -> Iterator[Site]:  # noqa: ARG001 - as the others
    """Start the bare relay in C."""
    with running(folder, "relay-c", command=[str(relay_path())], talks=True) as program:
        yield _single(program, "relay")


@contextmanager
def plain(folder: Path, nodes: int) -> Iterator[Site]:  # noqa: ARG001 - as the others
    """Start the plain scheduler."""
    with running(folder, "plain", "native_bench.plain", talks=True) as program:
        yield _single(program, "scheduler")


def _single(program: Program, target: str) -> Site:
    port = int(program.read_line().removeprefix(b"port "))
    return Site("127.0.0.1", port, target, {program.name: program.process.pid})


ONE_GATEWAY, TWO_GATEWAYS = "scheduler", "scheduler with 2 gateways"
PYTHON_RELAY, C_RELAY, PLAIN = "Python relay", "C relay", "plain scheduler"

SITES: dict[str, StartSite] = {
    ONE_GATEWAY: scheduler,
    TWO_GATEWAYS: partial(scheduler, gateways=2),
    PYTHON_RELAY: python_relay,
    C_RELAY: c_relay,
    PLAIN: plain,
}
"""All of them by their names for people. Each is started for a number of nodes."""
