"""The supervisor as a process of its own, over stand-ins for its children (stand_in.py)."""

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduler.ipc.boot import BOOT_FAILURE_EXIT
from scheduler.memory.layout import FIRST_GATEWAY_ROW
from scheduler.memory.segment import Segment
from scheduler.supervisor.policy import CRASH_LOOP_EXIT
from scheduler.supervisor.runtime_dir import Endpoints, read_endpoints
from tests.harness import poll

DEADLINE_SECONDS = 30.0
wait_until = partial(poll, seconds=DEADLINE_SECONDS)
MAIN = Path(__file__).with_name("run_stand_ins.py")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items())
        return f"{{ {inner} }}"
    return json.dumps(value)


class Scheduler:
    """A supervisor process."""

    def __init__(
        self,
        path: Path,
        *,
        config: dict[str, Any] | None = None,
        limits: dict[str, int] | None = None,
        **behaviours: str,
    ) -> None:
        self.runtime = path / "run"
        self.log = path / f"log-{time.monotonic_ns()}"
        self.report_path = path / "report"
        settings: dict[str, Any] = {
            "gateways": 1,
            "runtime_dir": str(self.runtime),
            "drain_seconds": 0.2,
            "bundles_max": 0,
            "server": {"host": "127.0.0.1", "port": 0, "ops_port": 0},
            "limits": {"nodes_max": 16, "sessions_per_gateway_max": 16, "arena_bytes": 8 << 20},
            "observability": {"log_format": "json"},
            **(config or {}),
        }
        self.config_path = path / f"settings-{time.monotonic_ns()}.toml"
        self.write_config(settings)
        arguments = [str(self.config_path), json.dumps(limits or {}), json.dumps(behaviours)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(MAIN), *arguments, str(self.report_path)],
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def write_config(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        lines = [f"{name} = {_toml(value)}\n" for name, value in settings.items()]
        self.config_path.write_text("".join(lines))

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [one for one in found if one["event"] == event]

    def pid_of(self, child: str) -> int:
        """Return the pid of the last one started."""
        return int(
            [e for e in self.events("child started") if e["child"] == child][-1]["child_pid"]
        )

    def pids(self) -> list[int]:
        return [int(event["child_pid"]) for event in self.events("child started")]

    def replaced(self, pids: list[int]) -> bool:
        """Whether each of `pids` ended and as many children were started since."""
        ended = [event["child_pid"] for event in self.events("child ended")]
        return all(pid in ended for pid in pids) and len(self.pids()) == 3 + len(ended)

    def endpoints(self) -> Endpoints:

        def serving() -> Endpoints | None:
            assert self.process.poll() is None, self.log.read_text()
            return read_endpoints(self.runtime)

        return poll("serving", serving, seconds=DEADLINE_SECONDS)

    def reported(self, line: str) -> None:
        path = self.report_path
        wait_until(
            f"report of {line!r}",
            lambda: path.exists() and line in path.read_text().splitlines(),
        )

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        wait_until("the end of all children", lambda: all(map(gone, self.pids())))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Scheduler]]:
    started: list[Scheduler] = []

    def start_one(**options: Any) -> Scheduler:
        started.append(Scheduler(tmp_path, **options))
        return started[-1]

    yield start_one
    for scheduler in started:
        scheduler.stop()


Start = Callable[..., Scheduler]


def test_it_serves_and_a_signal_drains_it(start: Start) -> None:
    scheduler = start(config={"gateways": 2})
    endpoints = scheduler.endpoints()
    assert endpoints.pid == scheduler.process.pid
    (serving,) = scheduler.events("serving")
    assert serving["public"] == [endpoints.public]
    host, port = endpoints.public.split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    for index in range(2):
        scheduler.reported(f"dispatcher #0 answers gateway {index} #0")

    scheduler.process.send_signal(signal.SIGHUP)  # the terminal went away: goes on
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0
    report = scheduler.report_path.read_text()
    assert "gateway 0 #0 drains" in report
    assert "gateway 1 #0 drains" in report
    assert scheduler.events("stopping")[0]["reason"] == "drained"
    assert [event["status"] for event in scheduler.events("child ended")] == ["exit code 0"] * 4
    assert list(scheduler.runtime.iterdir()) == []
    assert all(map(gone, scheduler.pids()))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_sighup_changes_what_is_logged_and_nothing_else(start: Start) -> None:
    scheduler = start()
    scheduler.endpoints()

    def change(settings: dict[str, Any]) -> None:
        scheduler.write_config(settings)
        scheduler.process.send_signal(signal.SIGHUP)

    quiet = {"log_format": "json", "log_level": "info", "levels": {"scheduler.ipc": "debug"}}
    change({**scheduler.settings, "observability": quiet, "drain_seconds": 5, "gateways": 2})
    scheduler.reported("gateway 0 #0 logs at info")
    wait_until("the report", lambda: scheduler.events("changed settings need a restart"))
    (report,) = scheduler.events("changed settings need a restart")
    assert report["keys"] == ["gateways", "drain_seconds"]

    # A child that is started later logs as the others do.
    change({**scheduler.settings, "observability": {"log_format": "json", "log_level": "warning"}})
    for child in ("gateway 0 #0", "dispatcher #0", "stats #0"):
        scheduler.reported(f"{child} logs at warning")
    os.kill(scheduler.process.pid, signal.SIGHUP)  # nothing differs: nothing happens
    os.kill(_pid_in_memory(scheduler, FIRST_GATEWAY_ROW), signal.SIGKILL)
    scheduler.reported("gateway 0 #1 started to log at warning")
    assert len(scheduler.events("child started")) == 3  # those below "warning" are gone


def test_a_broken_file_keeps_the_old_settings(start: Start) -> None:
    scheduler = start()
    scheduler.endpoints()
    scheduler.write_config({"observability": {"log_level": "loud"}})
    scheduler.process.send_signal(signal.SIGHUP)
    wait_until("an answer", lambda: scheduler.events("settings not changed"))
    (answer,) = scheduler.events("settings not changed")
    assert "observability.log_level = 'loud'" in answer["reason"]
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0
    assert scheduler.events("ended")  # still at "info"


def _pid_in_memory(scheduler: Scheduler, row: int) -> int:
    with closing(Segment.open(scheduler.runtime / "memory")) as segment:
        return int(segment.views.column("processes", "pid")[row])


def test_killed_children_are_replaced_and_linked_anew(start: Start) -> None:
    scheduler = start(config={"gateways": 2})
    scheduler.endpoints()
    with closing(Segment.open(scheduler.runtime / "memory")) as segment:
        header = segment.views.counters("header", 0)
        pids = segment.views.column("processes", "pid")
        restarts = segment.views.column("processes", "restarts")
        assert header.get("generation") == 1
        assert pids[0] == scheduler.process.pid

        os.kill(scheduler.pid_of("gateway 1"), signal.SIGKILL)
        scheduler.reported("dispatcher #0 answers gateway 1 #1")
        os.kill(scheduler.pid_of("dispatcher"), signal.SIGKILL)
        scheduler.reported("dispatcher #1 answers gateway 0 #0")
        scheduler.reported("dispatcher #1 answers gateway 1 #1")
        scheduler.reported("dispatcher #1 answers stats #0")
        os.kill(scheduler.pid_of("stats"), signal.SIGKILL)
        scheduler.reported("dispatcher #1 answers stats #1")
        wait_until("all restarts", lambda: restarts.tolist() == [0, 1, 1, 0, 1])

        assert header.get("generation") == 2
        shown = ["dispatcher", "stats", "gateway 0", "gateway 1"]
        wait_until(
            "pids of the new children",
            lambda: pids.tolist()[1:] == [scheduler.pid_of(child) for child in shown],
        )
    assert {event["status"] for event in scheduler.events("child ended")} == {"SIGKILL"}


def test_no_descriptor_leaks_over_twenty_restarts(start: Start) -> None:
    scheduler = start(limits={"deaths_max": 1_000}, config={"bundles_max": 2})
    scheduler.endpoints()
    scheduler.reported("dispatcher #0 answers gateway 0 #0")
    descriptors = Path(f"/proc/{scheduler.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        # Both at once: each is linked to a peer that is already dead.
        pids = [scheduler.pid_of(child) for child in ("gateway 0", "dispatcher")]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until("both replaced", partial(scheduler.replaced, pids))
    scheduler.reported("dispatcher #10 answers gateway 0 #10")
    wait_until("a bundle", lambda: scheduler.events("bundle kept"))
    wait_until("no more descriptors", lambda: len(list(descriptors.iterdir())) == before)


def writers(scheduler: Scheduler) -> list[psutil.Process]:
    """Return the processes that write a bundle."""
    found = []
    for child in psutil.Process(scheduler.process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if "scheduler.bundle" in child.cmdline():
                found.append(child)
    return found


def test_what_was_known_when_a_child_died_is_kept(start: Start) -> None:
    scheduler = start(config={"bundles_max": 2})
    scheduler.endpoints()
    pid = scheduler.pid_of("gateway 0")
    os.kill(pid, signal.SIGKILL)
    wait_until("the bundle", lambda: scheduler.events("bundle kept"))
    (kept,) = scheduler.events("bundle kept")
    with tarfile.open(kept["path"]) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)["why"] == f"gateway 0 (pid {pid}) ended: SIGKILL"
    scheduler.process.send_signal(signal.SIGTERM)  # of ends that are asked for none is kept
    assert scheduler.wait() == 0
    (folder,) = scheduler.runtime.iterdir()
    assert [str(path) for path in folder.iterdir()] == [kept["path"]]


def test_a_bundle_that_is_being_written_does_not_hold_up_the_end(start: Start) -> None:
    scheduler = start(config={"bundles_max": 2})
    scheduler.endpoints()
    os.kill(scheduler.pid_of("gateway 0"), signal.SIGKILL)
    (writer,) = wait_until("its writer", lambda: writers(scheduler))
    writer.suspend()
    scheduler.reported("dispatcher #0 answers gateway 0 #1")
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0
    assert gone(writer.pid)


def test_children_that_keep_dying_end_it_loudly(start: Start) -> None:
    scheduler = start(stats="crashes", config={"bundles_max": 2})
    assert scheduler.wait() == CRASH_LOOP_EXIT
    (stopping,) = scheduler.events("stopping")
    assert stopping["level"] == "error"
    assert stopping["reason"] == "5 deaths of child processes within 30 s"
    deaths = [event for event in scheduler.events("child ended") if event["child"] == "stats"]
    assert [event["status"] for event in deaths] == ["exit code 3"] * 5
    assert list(scheduler.runtime.iterdir()) == [], "it never served: there is nothing to tell"


def test_stats_that_keeps_dying_ends_nothing(start: Start) -> None:
    limits = {"stats_wait_first_ns": 10_000_000, "stats_wait_longest_ns": 3_600_000_000_000}
    scheduler = start(limits=limits)
    scheduler.endpoints()
    for _ in range(6):
        pid = scheduler.pid_of("stats")
        os.kill(pid, signal.SIGKILL)
        wait_until("its successor", partial(scheduler.replaced, [pid]))
    waits = [event["seconds"] for event in scheduler.events("restart delayed")]
    assert waits == [0.01, 0.02, 0.04, 0.08, 0.16]
    assert {event["child"] for event in scheduler.events("child ended")} == {"stats"}
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0


def test_a_child_that_refuses_to_start_ends_the_start(start: Start) -> None:
    scheduler = start(gateway="refuses")
    assert scheduler.wait() == BOOT_FAILURE_EXIT
    (stopping,) = scheduler.events("stopping")
    assert stopping["level"] == "error"
    assert stopping["reason"] == "gateway 0 can't start: the moon is full"
    assert scheduler.events("serving") == []


def test_a_child_that_never_gets_ready_ends_the_start(start: Start) -> None:
    scheduler = start(dispatcher="never ready", limits={"boot_ns_max": 1_000_000_000})
    assert scheduler.wait() == BOOT_FAILURE_EXIT
    (stopping,) = scheduler.events("stopping")
    assert "not ready within 1 s" in stopping["reason"]


def test_a_stopped_child_is_replaced(start: Start) -> None:
    scheduler = start(limits={"silence_ns_max": 1_000_000_000})
    scheduler.endpoints()
    os.kill(scheduler.pid_of("gateway 0"), signal.SIGSTOP)
    scheduler.reported("dispatcher #0 answers gateway 0 #1")
    (killed,) = scheduler.events("child killed")
    assert killed["reason"] == "not heard of within 1 s"


def test_a_gateway_that_never_drains_does_not_hold_up_the_end(start: Start) -> None:
    scheduler = start(gateway="never drained", limits={"drain_grace_ns": 0})
    scheduler.endpoints()
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0
    assert scheduler.events("stopping")[0]["reason"] == "drain deadline passed"


def test_a_child_that_stays_is_killed(start: Start) -> None:
    scheduler = start(stats="stays", limits={"stop_grace_ns": 1_000_000_000})
    scheduler.endpoints()
    scheduler.process.send_signal(signal.SIGTERM)
    assert scheduler.wait() == 0
    # On a busy machine others may not make it in time either.
    killed = [(event["child"], event["reason"]) for event in scheduler.events("child killed")]
    assert ("stats", "deadline") in killed


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    scheduler = start(gateway="never drained", config={"drain_seconds": 3600})
    scheduler.endpoints()
    scheduler.process.send_signal(signal.SIGINT)
    wait_until("draining", lambda: scheduler.events("draining; signal again to stop at once"))
    scheduler.process.send_signal(signal.SIGINT)
    assert scheduler.wait() == 128 + signal.SIGINT
    assert scheduler.events("stopping")[0]["reason"] == "signalled again, not waiting for jobs"


def test_no_child_outlives_a_killed_supervisor(start: Start) -> None:
    scheduler = start(config={"gateways": 2}, gateway="stays", stats="stays")
    scheduler.endpoints()
    scheduler.process.kill()
    wait_until("the end of all children", lambda: all(map(gone, scheduler.pids())))


def test_a_second_instance_is_refused(start: Start) -> None:
    first = start()
    first.endpoints()
    second = start()
    assert second.wait() == 1
    assert f"another instance runs in {first.runtime} (pid {first.process.pid})" in (
        second.log.read_text()
    )
    assert read_endpoints(first.runtime) is not None


def test_a_busy_port_is_explained_before_anything_is_started(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        scheduler = start(config={"server": {"host": "127.0.0.1", "port": 0, "ops_port": port}})
        assert scheduler.wait() == 1
    assert f"can't listen on 127.0.0.1 port {port}: another program" in scheduler.log.read_text()
    assert "set server.ops_port" in scheduler.log.read_text()
    assert scheduler.pids() == []
    assert list(scheduler.runtime.iterdir()) == []


def test_cores_that_are_not_there_are_refused(start: Start) -> None:
    scheduler = start(config={"cpu_affinity": {"gateway": [4095]}})
    assert scheduler.wait() == 1
    assert "StartError: cpu_affinity.gateway names cores [4095]" in scheduler.log.read_text()


def test_children_run_on_their_cores(start: Start) -> None:
    cores = sorted(os.sched_getaffinity(0))
    scheduler = start(config={"cpu_affinity": {"supervisor": [cores[0]], "gateway": [cores[-1]]}})
    scheduler.endpoints()
    assert os.sched_getaffinity(scheduler.process.pid) == {cores[0]}
    assert os.sched_getaffinity(scheduler.pid_of("gateway 0")) == {cores[-1]}
    assert os.sched_getaffinity(scheduler.pid_of("stats")) == set(cores)


def test_it_imports_no_network_library() -> None:
    code = (
        "import sys, scheduler.supervisor.supervisor;"
        "print(sorted({'uvloop', 'aiohttp', 'websockets'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout == "[]\n"
