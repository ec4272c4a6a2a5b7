"""Everything that a run starts: the scheduler, its surroundings, the workers; and its end."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW
from tests.chaos.isolation import Namespace, NotPossibleError, SmallDisk
from tests.chaos.node_worker import PROBE_SERVICE
from tests.chaos.orders import Finish, Order, encode_order
from tests.chaos.plan import Needs
from tests.chaos.probe_worker import FEATURE
from tests.chaos.wall_clock import WallClock
from tests.chaos.worker import WorkerSpec
from tests.harness import Overrides, RunningScheduler
from tests.integration.cluster import Cluster

NODES, NODES_AWAY = 10, 2
"""The first of them in this machine's own network, the others in the namespace."""

SESSIONS, SESSIONS_AWAY = 24, 6
WORKER_SECONDS_MAX = 10.0

SETTINGS: Overrides = {
    "drain_seconds": 3,
    "bundles_max": 2,
    "scheduler.job_timeout_seconds": 2,
    "scheduler.job_timeout.pending_timeout_seconds": 4,
    "scheduler.node_health.heartbeat_interval_seconds": 1,
    "scheduler.node_health.heartbeat_timeout_seconds": 4,
    "scheduler.node_health.warmup_timeout_seconds": 10,
    "scheduler.node_health.forget_after_seconds": 15,
    "scheduler.model_not_available.unavailable_ttl_seconds": 2,
    "scheduler.model_not_available.debounce_window_seconds": 0.5,
    "scheduler.outlier_ejection.base_ejection_seconds": 3,
    "scheduler.outlier_ejection.max_ejection_seconds": 10,
    "scheduler.outlier_ejection.slow_start_seconds": 3,
    f"scheduler.feature_services.{FEATURE}": [PROBE_SERVICE],
    # An utterance is cut by its end alone, however long a stopped process takes to read it.
    "scheduler.web_task_segmentation.pause_ms": 600_000,
    "limits.nodes_max": 64,
    "limits.sessions_per_gateway_max": 1024,
    "limits.messages_per_second_max": 1000,
    "limits.resume_seconds": 20,
    "limits.arena_bytes": 32 << 20,
    "limits.ping_interval_seconds": 2,
    "limits.ping_timeout_seconds": 4,
    "model_hub.refresh_seconds": 1,
    "model_hub.timeout_seconds": 1,
    "model_hub.connect_timeout_seconds": 1,
    "stats.refresh_seconds": 0.5,
}


def process_name(row: int) -> str:
    """Return what the process of a row of `processes` is called."""
    names = {DISPATCHER_ROW: "dispatcher", STATS_ROW: "stats"}
    return names.get(row) or f"gateway {row - FIRST_GATEWAY_ROW}"


class WorkerProcess:
    """A worker, and the way to tell it what to do."""

    def __init__(self, module: str, spec: WorkerSpec, prefix: list[str], log: Path) -> None:
        """`prefix` is a command that runs the worker's."""
        self.name = log.stem
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *prefix,
                    *(sys.executable, "-m", f"tests.chaos.{module}"),
                    msgspec.json.encode(spec).decode(),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the harness
            )
        self._log = log

    def order(self, order: Order) -> None:
        """Tell it to do something; nothing where it has ended."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.stdin.write(encode_order(order))
            self._process.stdin.flush()

    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def failure(self) -> str:
        """Return what went wrong with it, "" while nothing did."""
        if not self._process.poll():
            return ""
        said = self._log.read_text(errors="replace").strip()
        return f"{self.name} ended with exit code {self._process.returncode}: {said[-2_000:]}"

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


class Rig:
    """A scheduler under test and all around it. `close` ends and removes all of it."""

    def __init__(self, folder: Path, seed: int, gateways: int, hub_url: str) -> None:
        """Start the scheduler and return once it serves; the workers come later."""
        self.folder = folder
        self.seed = seed
        self.missing: dict[Needs, str] = {}
        """Why the machine can't give what some faults need."""
        self.admin_token = secrets.token_hex(8)
        self.namespace: Namespace | None = None
        self.disk: SmallDisk | None = None
        self.clock: WallClock | None = None
        self.is_down = False
        """The supervisor was killed and its successor doesn't serve yet."""
        self.past: Counter[str] = Counter()
        """Counters that went with supervisors that were killed."""
        self.epochs: list[str] = []
        """Of job ids, one for each supervisor."""
        self._settings: dict[str, object] = {}
        self._past_logs: list[Path] = []
        self.workers: list[WorkerProcess] = []
        self._stack = ExitStack()
        with ExitStack() as stack:
            self._isolate(stack)
            self.config_path = folder / "scheduler.toml"
            self.write_config()
            self._settings = self._first_settings(gateways, hub_url)
            self.scheduler = self._launch()
            stack.callback(self._kill)
            self.scheduler.wait_ready()
            # Whoever comes after this one is found at the same addresses.
            ends = self.scheduler.endpoints
            self._settings["server.port"] = int(ends.public.rpartition(":")[2])
            self._settings["server.ops_port"] = int(ends.operations.rpartition(":")[2])
            self.cluster = self._look_in(stack)
            self._stack = stack.pop_all()

    def _launch(self) -> RunningScheduler:
        command = [sys.executable, "-m", "tests.chaos.launcher", str(os.getpid())]
        if self.clock is not None:
            command = self.clock.command(command)
        return RunningScheduler(
            self.folder, self._settings, config=self.config_path, command=command
        )

    def _look_in(self, stack: ExitStack) -> Cluster:
        cluster = Cluster(self.scheduler)
        stack.callback(cluster.close)
        self.epochs.append(cluster.epoch)
        return cluster

    def _kill(self) -> None:
        self.scheduler.kill()

    async def restart(self) -> None:
        """Start the scheduler again, once all its processes are gone; return when it serves."""
        log = self.scheduler.log_path
        self._past_logs.append(log.rename(log.with_stem(f"{log.stem}-{len(self._past_logs)}")))
        self.scheduler = self._launch()
        await asyncio.to_thread(self.scheduler.wait_ready)
        # The one before stays open until the end: watchers may hold views of it.
        self.cluster = self._look_in(self._stack)

    def logged(self) -> str:
        """Return all that the scheduler's processes logged, from the first start on."""
        paths = [*self._past_logs, self.scheduler.log_path]
        return "".join(path.read_text(errors="replace") for path in paths)

    def _isolate(self, stack: ExitStack) -> None:
        try:
            self.namespace = Namespace()
            stack.callback(self.namespace.close)
        except NotPossibleError as error:
            self.missing["namespace"] = str(error)
        try:
            self.disk = SmallDisk(self.folder / "disk")
            stack.callback(self.disk.close)
        except NotPossibleError as error:
            self.missing["disk"] = str(error)
        try:
            self.clock = WallClock(self.folder)
        except NotPossibleError as error:
            self.missing["clock"] = str(error)

    def _first_settings(self, gateways: int, hub_url: str) -> dict[str, object]:
        settings = {
            **SETTINGS,
            "gateways": gateways,
            "model_hub.base_url": hub_url,
            "server.admin_token": self.admin_token,
        }
        if self.namespace is not None:
            # Those outside reach it over the loopback interface all the same.
            settings["server.host"] = self.namespace.address
        if self.disk is not None:
            settings["stats.snapshot_path"] = str(self.disk.folder / "snapshot.json")
        return settings

    @property
    def rows(self) -> list[int]:
        """Those of the supervisor's children in `processes`."""
        gateways = range(FIRST_GATEWAY_ROW, FIRST_GATEWAY_ROW + self.cluster.gateways)
        return [DISPATCHER_ROW, STATS_ROW, *gateways]

    def write_config(self, level: str = "info") -> None:
        """Write the settings that may change while it runs."""
        self.config_path.write_text(f'[observability.levels]\n"scheduler.stats" = "{level}"\n')

    def start_workers(self) -> None:
        """Let sessions, nodes and the prober begin."""
        self._start("node_worker", "nodes", NODES, 0)
        self._start("session_worker", "sessions-a", SESSIONS // 2, 0)
        self._start("session_worker", "sessions-b", SESSIONS // 2, SESSIONS // 2)
        self._start("probe_worker", "prober", 0, 0)
        if self.namespace is not None:
            self._start("node_worker", "nodes-away", NODES_AWAY, NODES, away=True)
            self._start("session_worker", "sessions-away", SESSIONS_AWAY, SESSIONS, away=True)

    def _start(self, module: str, name: str, count: int, first: int, *, away: bool = False) -> None:
        is_node = module == "node_worker"
        spec = WorkerSpec(
            harness_pid=os.getpid(),
            history=str(self.folder / f"{name}.jsonl"),
            seed=self.seed,
            url=self.scheduler.node_url if is_node else self.scheduler.session_url,
            count=count,
            first=first,
            epoch=self.cluster.epoch,
        )
        prefix = self.namespace.command([]) if away and self.namespace is not None else []
        worker = WorkerProcess(module, spec, prefix, self.folder / f"{name}.log")
        self.workers.append(worker)
        self._stack.callback(worker.kill)

    def workers_of(self, start: str) -> list[WorkerProcess]:
        """Return the workers whose names start so."""
        return [worker for worker in self.workers if worker.name.startswith(start)]

    def order(self, start: str, order: Order) -> None:
        """Tell all workers whose names start so."""
        for worker in self.workers_of(start):
            worker.order(order)

    def finish(self, start: str) -> None:
        """Let the workers whose names start so come to their end."""
        self.order(start, Finish())

    def close(self) -> None:
        """End and remove everything that is left."""
        self._stack.close()
