"""What goes wrong in a run, each at random times."""

from collections.abc import Callable
from random import Random

from scheduler.protocol.records import DrainNode, Result
from scheduler.simulation.clock import Clock
from scheduler.simulation.node import NodeModel
from scheduler.simulation.scenario import CORE, MS
from scheduler.simulation.world import World

_DEATH_SHARE = 0.01
_FAR = 1 << 30
"""Beyond any attempt and any job of a run."""
_RECOVERY_NS_MAX = 1_500 * MS
"""Longer than a silent node is waited for, and than its row is kept in some scenarios."""


class Faults:
    """Makes faults until told to stop."""

    def __init__(self, world: World, clock: Clock, rng: Random) -> None:
        self._world = world
        self._clock = clock
        self._rng = rng
        self._on = True
        self._kinds: list[Callable[[NodeModel], None]] = [
            self._disconnect,
            self._hang,
            self._fall_ill,
            self._overload,
            self._change_services,
            self._lose_model,
            self._drain,
            self._pair,
            self._forge,
            self._forget,
        ]

    def start(self) -> None:
        """Begin."""
        self._clock.after(self._pause_ns(), self._strike)

    def stop(self) -> None:
        """Make no further faults."""
        self._on = False

    def _pause_ns(self) -> int:
        return round(self._rng.expovariate(1 / self._world.scenario.fault_ns))

    def _strike(self) -> None:
        if not self._on:
            return
        world, rng = self._world, self._rng
        if rng.random() < _DEATH_SHARE and world.scenario.gateways_die:
            world.kill_gateway(rng.randrange(world.scenario.gateways))
        if rng.random() < _DEATH_SHARE and world.scenario.dispatchers_die:
            world.kill_dispatcher()
        node = rng.choice(world.nodes)
        rng.choice(self._kinds)(node)
        self._clock.after(rng.randrange(_RECOVERY_NS_MAX), self._recover, node)
        self._clock.after(self._pause_ns(), self._strike)

    def _recover(self, node: NodeModel) -> None:
        node.recover()
        self._world.connect(node)

    def _disconnect(self, node: NodeModel) -> None:
        node.disconnect()

    def _hang(self, node: NodeModel) -> None:
        node.hung = True

    def _fall_ill(self, node: NodeModel) -> None:
        node.fit = False

    def _overload(self, node: NodeModel) -> None:
        if self._rng.random() < 0.5:
            node.cpu_percent = 99.0
        else:
            node.external_jobs = self._rng.randint(1, 4)

    def _change_services(self, node: NodeModel) -> None:
        node.change_services()

    def _lose_model(self, node: NodeModel) -> None:
        node.lacks = self._rng.choice((*CORE, "a model nobody asked for"))

    def _drain(self, node: NodeModel) -> None:
        gateway = node.gateway
        if gateway is None:
            return
        for socket in gateway.sockets.values():
            if socket.node is node:
                on = self._rng.random() < 0.4
                self._world.send_as(gateway.index, DrainNode(socket.ref, on, "operator"))

    def _pair(self, node: NodeModel) -> None:
        node.ask_for_code()

    def _forget(self, node: NodeModel) -> None:
        """Let the node's gateway lose an attempt, as a fault of ours there might."""
        gateway = node.gateway
        if gateway is not None:
            for socket in gateway.sockets.values():
                if socket.node is node and socket.attempts:
                    gateway.forget(socket, self._rng.choice(sorted(socket.attempts)))

    def _forge(self, node: NodeModel) -> None:
        """Let a gateway pass on a result that it should have counted away.

        Not the gateway of the node that has the job: it would be told to discard the real one.
        """
        rng, gateway = self._rng, node.gateway
        if gateway is None:
            return
        others = [g for g in self._world.gateways if g is not gateway]
        for socket in gateway.sockets.values():
            if others and socket.attempts and rng.random() < 0.5:
                job, attempt = rng.choice(sorted(socket.attempts.items()))
                forged = (
                    Result(job, attempt + _FAR, socket.ref),
                    Result(job, attempt, socket.ref + 1),
                    Result(job + _FAR, attempt, socket.ref),
                )
                self._world.send_as(rng.choice(others).index, rng.choice(forged))
                return
