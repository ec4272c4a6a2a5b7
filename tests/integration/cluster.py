"""A running scheduler together with what its shared memory says of it."""

import time
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import NamedTuple

from scheduler.memory.segment import Segment
from scheduler.protocol.status import Status
from tests.harness import RunningScheduler

SETTLE_SECONDS_MAX = 15.0
_POLL_SECONDS = 0.01
_CONNECTED = {Status.REGISTERING, Status.READY, Status.DEGRADED, Status.DRAINING}


class NodeRow(NamedTuple):
    """A row of the node table."""

    node_id: str
    ref: int
    status: Status
    in_flight: int
    gateway: int


class Totals(NamedTuple):
    """Jobs by outcome, over all gateways or of one."""

    accepted: int
    completed: int
    failed: int
    cancelled: int
    live: int

    @property
    def balance(self) -> int:
        """Jobs that are in no place, or in two; 0 at any moment that a reader sees twice."""
        return self.accepted - self.completed - self.failed - self.cancelled - self.live


class Cluster:
    """Supervisor, gateways, dispatcher and stats, and a read-only look at what they share."""

    def __init__(self, scheduler: RunningScheduler) -> None:
        self.scheduler = scheduler
        self._segment = Segment.open(scheduler.runtime_dir / "memory")
        self._views = self._segment.views
        self.gateways = self._segment.dimensions.gateways
        self.epoch = self._segment.epoch
        self._log_position = 0

    def close(self) -> None:
        del self._views
        self._segment.close()

    @property
    def session_url(self) -> str:
        return self.scheduler.session_url

    @property
    def node_url(self) -> str:
        return self.scheduler.node_url

    # --- counters ------------------------------------------------------------------------

    def per_gateway(self, name: str) -> list[int]:
        """Return a gateway counter of each gateway."""
        column = self._views.column("gateway_counters", name)
        return [int(value) for value in column]

    def total(self, name: str) -> int:
        """Return a gateway counter summed over the gateways."""
        return sum(self.per_gateway(name))

    def dispatcher(self, name: str) -> int:
        """Return a counter of the dispatcher."""
        return int(self._views.column("dispatcher_counters", name)[0])

    def totals(self, gateway: int | None = None) -> Totals:
        names = (
            "jobs_accepted_total",
            "jobs_completed_total",
            "jobs_failed_total",
            "jobs_cancelled_total",
            "jobs_live",
        )
        columns = [self.per_gateway(name) for name in names]
        return Totals(*(sum(c) if gateway is None else c[gateway] for c in columns))

    def nodes(self) -> dict[str, NodeRow]:
        """Return the occupied rows of the node table by node id."""
        column = self._views.column
        rows = zip(
            column("nodes", "node_id"),
            column("nodes", "ref"),
            column("nodes", "status"),
            column("nodes", "in_flight"),
            column("nodes", "gateway"),
            strict=True,
        )
        return {
            node_id.decode(): NodeRow(
                node_id.decode(), int(ref), Status(int(status)), int(in_flight), int(gateway)
            )
            for node_id, ref, status, in_flight, gateway in rows
            if status != Status.FREE
        }

    def pid(self, row: int) -> int:
        """Return the pid in a row of `processes`; 0 while none runs."""
        return int(self._views.column("processes", "pid")[row])

    def serves(self, row: int) -> bool:
        """Whether the process of a row of `processes` has said so itself, since its start."""
        column = self._views.column
        beaten = column("pulses", "heartbeat_ns")[row] >= column("processes", "started_ns")[row]
        return bool(self.pid(row) and beaten and column("pulses", "ready")[row])

    # --- HTTP ----------------------------------------------------------------------------

    def get(self, url: str) -> tuple[int, bytes]:
        """Return status and body."""
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - ours
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def is_ready(self) -> bool:
        """Whether /ready answers 200."""
        try:
            return self.get(f"{self.scheduler.ops_url}/ready")[0] == 200
        except OSError:  # the stats process is being replaced
            return False

    # --- what holds when nothing is in flight --------------------------------------------

    def check_settled(self, besides: Collection[str] = ()) -> None:
        """Poll until nothing is left of a test's sessions, nodes and jobs; fail otherwise."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while left := self._left().keys() - set(besides):
            assert time.monotonic() < deadline, f"left behind: {left} of {self._left()}"
            time.sleep(_POLL_SECONDS)

    def _left(self) -> dict[str, object]:
        gauges = ("connections", "sessions", "sessions_suspended", "nodes", "jobs_live")
        found: dict[str, object] = {n: self.total(n) for n in (*gauges, "arena_used_bytes")}
        found |= {name: self.dispatcher(name) for name in ("in_flight", "queued")}
        nodes = self.nodes().values()
        found["connected"] = [n for n in nodes if n.status in _CONNECTED]
        found["slots"] = [n for n in nodes if n.in_flight]
        found["unbalanced"] = [
            totals for g in range(self.gateways) if (totals := self.totals(g)).balance
        ]
        return {name: value for name, value in found.items() if value}

    # --- log -----------------------------------------------------------------------------

    def start_log(self) -> None:
        """Forget what was logged so far."""
        self._log_position = len(self.scheduler.log())

    def new_log(self) -> str:
        """Return what was logged since `start_log`."""
        return self.scheduler.log()[self._log_position :]
