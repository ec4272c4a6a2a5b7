"""How long it takes from the command to a scheduler that serves.

Each time a new process is executed, `python -m scheduler run`, which is what the command
`lingua-scheduler run` does. It is ready once `/ready` answers 200 on the operations port and a
socket was accepted on the public one. Both are tried every few milliseconds.

The bias: the modules are in the page cache and compiled; after a boot of the machine the disk
adds to it.
"""

import http.client
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from native_bench.results import Figures, Result, make_result
from scheduler.programs import Program, running, scheduler_environment

_POLL_SECONDS = 0.005
_READY_SECONDS_MAX = 60.0


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured. One further start before warms the page cache up."""

    starts: int = 11
    gateways: tuple[int, ...] = (1, 2)


class Sample(Struct, frozen=True):
    """One start."""

    gateways: int
    ready_seconds: float


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Start it again and again; raises ProgramError where it doesn't come up."""
    _start(1)
    samples = []
    for number in range(settings.starts):
        for gateways in settings.gateways:
            tell(f"start {number + 1} of {settings.starts}, {gateways} gateways")
            samples.append(Sample(gateways, round(_start(gateways), 4)))
    return make_report(settings, samples)


def _start(gateways: int) -> float:
    public, operations = _free_port(), _free_port()
    with TemporaryDirectory(prefix="lingua-bench-") as name:
        settings = {
            "gateways": gateways,
            "server.port": public,
            "server.ops_port": operations,
        }
        environment = scheduler_environment(Path(name) / "runtime", settings)
        began = time.perf_counter()
        with running(
            Path(name), "scheduler", "scheduler", "run", environment=environment
        ) as program:
            _wait(program, lambda: _is_ready(operations) and _accepts(public))
            return time.perf_counter() - began


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)  # noqa: S101 - for mypy
        return port


def _wait(program: Program, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while not check():
        if program.process.poll() is not None or time.monotonic() > deadline:
            raise program.failure(f"not ready within {_READY_SECONDS_MAX:g} s")
        time.sleep(_POLL_SECONDS)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _accepts(port: int) -> bool:
    """Whether the public port answers, not just queues, a connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def make_report(settings: Settings, samples: list[Sample]) -> Result:
    """Return what the samples come to."""
    by_gateways = {
        gateways: [s.ready_seconds for s in samples if s.gateways == gateways]
        for gateways in settings.gateways
    }
    rows = [
        (
            f"{gateways}",
            f"{len(seconds)}",
            f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f}",
            f"{max(seconds):.2f}",
        )
        for gateways, seconds in by_gateways.items()
    ]
    return make_result(
        "start",
        settings=settings,
        figures={"ready_seconds": statistics.median(by_gateways[settings.gateways[0]])},
        tables=[
            Figures(
                "from start to ready, s", ("gateways", "starts", "median", "least", "most"), rows
            )
        ],
        doubts=[],
        samples=samples,
    )
