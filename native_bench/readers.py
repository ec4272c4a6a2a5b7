"""Whether those who read the statistics disturb the jobs: windows with and without, in one run.

A real scheduler with simulated nodes carries a steady load of jobs, far from saturation. Window
after window the readers do something else (`readers_plan.FORMS`), in an order drawn anew for
each block of windows, so that whatever else changes in time meets all of them alike. Jobs are
timed by the sessions, from sending the utterance to its translation_result, and by the
scheduler's own histograms. A window in which unrelated programs used the machine doesn't count.

The bias: sessions, nodes and readers run on the same cores as the scheduler. The CPU time that
the readers themselves take to receive and check their answers is therefore missing to the jobs
too, which on a real network it would not be: a change of the jobs' times is an upper bound of
what the scheduler is to blame for. Against that, the node's own delay is part of the jobs' times,
and loopback takes an answer of 100 KB at once, which a slow network would not.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from native_bench.readers_looks import Look
from native_bench.readers_plan import (
    FORMS,
    NONE,
    READY,
    Call,
    JobTask,
    RequestTask,
    Settings,
    Window,
    plan_block,
)
from native_bench.readers_report import Report, make_report
from scheduler.errors import ConfigError
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.programs import Program, running, running_nodes, running_scheduler
from scheduler.supervisor.runtime_dir import Endpoints

_LEAD_NS = 300_000_000
"""For the drivers to learn of a block before it begins."""

_QUIET_SECONDS = 1.0
"""A block begins after unrelated programs were quiet for so long."""

_DRIVER_SECONDS_MAX = 30.0
"""For the drivers to end after the last window."""


class _Site:
    """All that runs, and the looks at it."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        """Start everything; `stack` ends it again."""
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lingua-bench-")))
        limits = {"gateways": settings.gateways, "limits.nodes_max": max(settings.nodes, 64)}
        endpoints = stack.enter_context(running_scheduler(folder, limits))
        segment = stack.enter_context(closing(Segment.open(folder / "runtime" / "memory")))
        self._views = segment.views
        nodes = stack.enter_context(
            running_nodes(
                *(folder, f"ws://{endpoints.public}/ws/node", self._views, settings.nodes),
                *("--delay-ms", str(settings.node_delay_ms)),
                *("--heartbeat-seconds", str(settings.heartbeat_seconds)),
                *("--tts-bytes", str(settings.audio_bytes)),
            )
        )
        self.drivers = [
            stack.enter_context(_driver(folder, name, task))
            for name, task in (
                ("jobs", _job_task(settings, endpoints)),
                ("requests", _request_task(settings, endpoints)),
            )
        ]
        for driver in self.drivers:
            driver.expect(READY)
        programs = {"nodes": nodes, "sessions": self.drivers[0], "readers": self.drivers[1]}
        self._pids = {
            **_scheduler_pids(self._views, endpoints.pid),
            **{name: program.process.pid for name, program in programs.items()},
        }

    def look(self) -> Look:
        """Look now."""
        return Look(self._views, self._pids)

    def look_at(self, window: Window) -> tuple[Look, Look]:
        """Look at both ends of a window, and return after it."""
        _sleep_until(window.from_ns)
        first = self.look()
        _sleep_until(window.until_ns)
        return first, self.look()

    def wait_quiet(self, others_max: float, deadline_ns: int) -> None:
        """Return when unrelated programs use little, or at the deadline."""
        while time.monotonic_ns() < deadline_ns:
            before = self.look()
            time.sleep(_QUIET_SECONDS)
            if self.look().others_used(before) <= others_max:
                return


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Report:
    """Run all windows; `tell` is told in words how far it is.

    Windows without readers are always among them. Raises ProgramError where a program fails or
    doesn't end in time, ConfigError for a form that there isn't.
    """
    unknown = set(settings.forms) - set(FORMS)
    if unknown:
        raise ConfigError(f"no form {', '.join(sorted(unknown))}; there are {', '.join(FORMS)}")
    settings = replace(settings, forms=tuple(dict.fromkeys((NONE, *settings.forms))))
    with ExitStack() as stack:
        site = _Site(settings, stack)
        deadline_ns = time.monotonic_ns() + int(settings.minutes_max * 60e9)
        windows: list[Window] = []
        looks: list[tuple[Look, Look]] = []
        counts: Counter[str] = Counter()
        number = 0
        while number == 0 or time.monotonic_ns() < deadline_ns:
            site.wait_quiet(settings.others_max, deadline_ns)
            block = plan_block(settings, number, time.monotonic_ns() + _LEAD_NS)
            number += 1
            for driver in site.drivers:
                driver.tell(msgspec.json.encode(block))
            for window in block:
                before, after = site.look_at(window)
                windows.append(window)
                looks.append((before, after))
                counts[window.form] += after.others_used(before) <= settings.others_max
            least = min(counts[form] for form in settings.forms)
            tell(f"{number} blocks, {least} of {settings.windows} windows of each form count")
            if least >= settings.windows:
                break
        jobs, requests = (
            msgspec.json.decode(driver.finish(_DRIVER_SECONDS_MAX), type=list[Call])
            for driver in site.drivers
        )
        return make_report(settings, windows, looks, jobs, requests)


def _job_task(settings: Settings, endpoints: Endpoints) -> JobTask:
    return JobTask(
        f"ws://{endpoints.public}/ws/session",
        settings.sessions,
        settings.jobs_per_second,
        settings.audio_bytes,
        settings.seed,
    )


def _request_task(settings: Settings, endpoints: Endpoints) -> RequestTask:
    host, _, port = endpoints.operations.rpartition(":")
    return RequestTask(
        host,
        int(port),
        settings.connections,
        settings.requests_per_second,
        settings.seed + 1,
    )


def _driver(
    folder: Path, name: str, task: JobTask | RequestTask
) -> AbstractContextManager[Program]:
    module = f"native_bench.readers_{name}"
    return running(folder, name, module, msgspec.json.encode(task).decode(), talks=True)


def _scheduler_pids(views: Views, supervisor_pid: int) -> dict[str, int]:
    pids = [int(pid) for pid in views.column("processes", "pid")]
    return {
        "supervisor": supervisor_pid,
        "dispatcher": pids[DISPATCHER_ROW],
        "stats": pids[STATS_ROW],
        **{f"gateway {number}": pid for number, pid in enumerate(pids[FIRST_GATEWAY_ROW:])},
    }


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))
