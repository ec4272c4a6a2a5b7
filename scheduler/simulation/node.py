"""A node in the field: works, fails, falls silent, answers twice or late, comes and goes."""

from collections.abc import Callable
from random import Random

from scheduler.dispatch.flow import ELSEWHERE
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import gateway_of
from scheduler.protocol.records import RegisterNode, RunningAttempt
from scheduler.simulation.clock import Clock
from scheduler.simulation.gateway import GatewayModel, Socket
from scheduler.simulation.scenario import CORE, EXTRA, MS, Scenario

_FINAL = (ErrorCode.NMT_TIMEOUT, ErrorCode.INTERNAL_ERROR, ErrorCode.UNSUPPORTED_FEATURE)
_CODES = (*sorted(ELSEWHERE), *_FINAL, "OUT_OF_CHEESE")
_WHOLE_SHARE = 0.8
_LATE_SHARE = 0.02
_ODD_SHARE = 0.1
_RETRY_NS = 100 * MS

OnCode = Callable[[str], None]


class NodeModel:
    """One node, over all its connections."""

    def __init__(
        self, number: int, scenario: Scenario, clock: Clock, rng: Random, on_code: OnCode
    ) -> None:
        """`on_code` hears the pairing codes that the node was given."""
        self.node_id = f"node-{number}"
        self.fit = True
        self.hung = False
        """Connected, but neither beating nor answering."""
        self.cpu_percent = 0.0
        self.external_jobs = 0
        self.gateway: GatewayModel | None = None
        self.lacks = ""
        """Service that the node has lost without knowing it."""
        self._scenario = scenario
        self._clock = clock
        self._rng = rng
        self._capacity = rng.randint(1, 4)
        self._public = rng.random() >= scenario.private_share
        self._services = self.draw_services()
        self._socket: Socket | None = None
        self._cancelled: set[tuple[int, int]] = set()
        self._working: dict[int, int] = {}
        """Attempts that were begun and neither finished nor cancelled, by job."""
        self.pairing_code = on_code

    def draw_services(self) -> list[str]:
        """Return services a node might have: mostly all that the whole pipeline needs."""
        if self._rng.random() < _WHOLE_SHARE:
            return [*CORE, *(service for service in EXTRA if self._rng.random() < 0.5)]
        return self._rng.sample(CORE + EXTRA, self._rng.randint(0, len(CORE)))

    def recover(self) -> None:
        """Be without fault again; whether it is connected is another matter."""
        self.fit = True
        self.hung = False
        self.lacks = ""
        self.cpu_percent = 0.0
        self.external_jobs = 0

    # --- connection ----------------------------------------------------------------------

    def connect(self, gateway: GatewayModel) -> None:
        """Register at `gateway`, with the id that the node always had."""
        self.hung = False
        self.gateway = gateway
        self._socket = gateway.connect(
            self,
            RegisterNode(
                0,
                self.node_id,
                self.node_id,
                self._capacity,
                self._public,
                list(self._services),
                list(self._services),
                8.0,
                16.0,
                0,
                0.0,
                running=self._kept(),
            ),
        )

    def _kept(self) -> list[RunningAttempt]:
        """Return what the node says that it still works on; some nodes never say, some lie."""
        if self._rng.random() < 0.3:
            self._working.clear()
        kept = [RunningAttempt(job, attempt) for job, attempt in self._working.items()]
        if self.gateway is not None and self.gateway.jobs and self._rng.random() < _ODD_SHARE:
            kept.append(self._claim_any(self._rng.choice([*self.gateway.jobs])))
        return kept

    def _claim_any(self, job: int) -> RunningAttempt:
        """Claim an attempt that is most likely another node's, and bring a result for it."""
        claim = RunningAttempt(job, self._rng.randint(1, 3))
        self._clock.after(_RETRY_NS, self._finish_again, claim.job, claim.attempt)
        return claim

    def disconnect(self) -> None:
        """Close the socket."""
        if self.gateway is not None and self._socket is not None and self.gateway.alive:
            self.gateway.close(self._socket)
        self.disconnected()

    def accepted(self) -> None:
        """Nothing to do: jobs come once the heartbeats were seen."""

    def refused(self) -> None:
        """Stay away until the world makes the node try again."""
        self.disconnected()

    def disconnected(self) -> None:
        """The connection is over; work that is under way goes on to no end."""
        self.gateway = None
        self._socket = None

    def beat(self) -> None:
        """Send a heartbeat."""
        if self.gateway is not None and self._socket is not None and not self.hung:
            self.gateway.heartbeat(
                self._socket,
                fit=self.fit,
                cpu_percent=self.cpu_percent,
                external_jobs=self.external_jobs,
                now_ns=self._clock.now_ns,
            )

    def change_services(self) -> None:
        """Install or lose services; some are not ready at once."""
        self._services = self.draw_services()
        ready = [service for service in self._services if self._rng.random() < 0.9]
        if self.gateway is not None and self._socket is not None:
            self.gateway.change_services(self._socket, self._services, ready)

    def ask_for_code(self) -> None:
        """Ask for a pairing code; few enough different ones that two nodes may draw the same."""
        if self.gateway is not None and self._socket is not None:
            self.gateway.offer_pairing(self._socket, f"{self._rng.randrange(50):06}")

    # --- work ----------------------------------------------------------------------------

    def assign(self, job: int, attempt: int) -> None:
        """Start on a job; how it will end is drawn now."""
        scenario, rng = self._scenario, self._rng
        self._cancelled.discard((job, attempt))
        self._working[job] = attempt
        delay_ns = round(rng.expovariate(1 / scenario.work_ns))
        if rng.random() < scenario.silent_share:
            return
        if rng.random() < _LATE_SHARE:
            delay_ns += round(scenario.config.scheduler.job_timeout_seconds * 1_000 * MS)
        if self.lacks:
            self._clock.after(
                MS, self._fail, job, attempt, ErrorCode.MODEL_NOT_AVAILABLE, self.lacks
            )
        elif rng.random() < scenario.failing_share:
            self._clock.after(delay_ns, self._fail, job, attempt, rng.choice(_CODES), "")
        else:
            self._clock.after(delay_ns, self._finish, job, attempt)
        if rng.random() < _ODD_SHARE:
            self._clock.after(delay_ns // 2, self._chatter, job, attempt)

    def cancel(self, job: int, attempt: int) -> None:
        """Stop, or don't: nodes in the field often can't."""
        self._end(job, attempt)
        if self._rng.random() < 0.7:
            self._cancelled.add((job, attempt))

    def _end(self, job: int, attempt: int) -> None:
        if self._working.get(job) == attempt:
            del self._working[job]

    def _socket_for(self, job: int, attempt: int) -> tuple[GatewayModel, Socket] | None:
        if (job, attempt) in self._cancelled or self.hung:
            return None
        if self.gateway is None or self._socket is None:
            return None
        return self.gateway, self._socket

    def _finish(self, job: int, attempt: int) -> None:
        to = self._socket_for(job, attempt)
        if to is not None:
            gateway, socket = to
            self._end(job, attempt)
            gateway.result(socket, job, attempt)
            if self._rng.random() < _ODD_SHARE:
                self._clock.after(_RETRY_NS, self._finish_again, job, attempt)

    def _finish_again(self, job: int, attempt: int) -> None:
        to = self._socket_for(job, attempt)
        if to is not None:
            gateway, socket = to
            gateway.result(socket, job, attempt)

    def _fail(self, job: int, attempt: int, code: str, service: str) -> None:
        to = self._socket_for(job, attempt)
        if to is not None:
            gateway, socket = to
            self._end(job, attempt)
            gateway.failure(socket, job, attempt, code, service)

    def _chatter(self, job: int, attempt: int) -> None:
        """Say something on the way to the result: a text, or a result of no attempt there is."""
        to = self._socket_for(job, attempt)
        if to is None:
            return
        gateway, socket = to
        if gateway_of(job) != gateway.index:
            gateway.partial(socket, job)
        gateway.result(socket, job, attempt + self._rng.randint(1, 3))
