"""Sessions: they open, speak, pair, give up and close."""

from random import Random

from scheduler.simulation.clock import Clock
from scheduler.simulation.gateway import GatewayModel
from scheduler.simulation.scenario import REQUIREMENTS, Scenario
from scheduler.simulation.session import Session

_CLOSE_SHARE = 0.05
_AVOID_SHARE = 0.2
_BURST_SHARE = 0.005
_BURST = 30
_WRONG_CODE_SHARE = 0.3


class Traffic:
    """All sessions of all gateways."""

    def __init__(
        self, scenario: Scenario, clock: Clock, rng: Random, gateways: list[GatewayModel]
    ) -> None:
        """`gateways` are those of now: the world puts a new one in a dead one's place."""
        self._scenario = scenario
        self._clock = clock
        self._rng = rng
        self._gateways = gateways
        self._sessions: list[tuple[GatewayModel, Session]] = []
        self._opened = 0
        self._on = True

    def start(self) -> None:
        """Begin to speak."""
        self._clock.after(self._pause_ns(), self._speak)

    def stop(self) -> None:
        """Say nothing more; what was said is still answered."""
        self._on = False

    def _pause_ns(self) -> int:
        return round(self._rng.expovariate(1 / self._scenario.arrival_ns))

    def _speak(self) -> None:
        if not self._on:
            return
        burst = _BURST if self._rng.random() < _BURST_SHARE else 1
        for _ in range(burst):
            self._say_one_thing()
        self._clock.after(self._pause_ns(), self._speak)

    def _say_one_thing(self) -> None:
        picked = self._pick()
        if picked is None:
            return
        gateway, session = picked
        if self._rng.random() < _CLOSE_SHARE:
            for job in sorted(session.jobs):
                gateway.cancel(job)
            session.paired = session.last_node = -1
            return
        if self._rng.random() >= _AVOID_SHARE:
            session.last_node = -1  # spreading is off for most
        gateway.submit(session, self._rng.choice(REQUIREMENTS))

    def _pick(self) -> tuple[GatewayModel, Session] | None:
        """Return some session of a living gateway, opening it if need be."""
        index = self._rng.randrange(self._scenario.sessions)
        if index < len(self._sessions):
            gateway, session = self._sessions[index]
            if gateway.alive:
                return gateway, session
        gateway = self._rng.choice(self._gateways)
        if not gateway.alive:
            return None
        self._opened += 1
        number = self._opened % 7
        session = Session(f"10.0.0.{number}", (number, number % 3 + 1, number // 6))
        if index < len(self._sessions):
            self._sessions[index] = gateway, session
        else:
            self._sessions.append((gateway, session))
        return gateway, session

    def hear_code(self, code: str) -> None:
        """Someone reads a node's code and types it in, more or less well."""
        picked = self._pick()
        if picked is None or not self._on:
            return
        gateway, session = picked
        if self._rng.random() < _WRONG_CODE_SHARE:
            code = f"{self._rng.randrange(50):06}"
        gateway.claim(session, code)
