"""Everything together: gateways, links, nodes, traffic, and whichever dispatcher is alive."""

from functools import partial
from random import Random

from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import gateway_of, job_key_base
from scheduler.protocol.records import ArenaRef, Result
from scheduler.selection.services import distinct_classes
from scheduler.simulation.checks import History, Outcomes, check
from scheduler.simulation.clock import Clock
from scheduler.simulation.dispatcher import DispatcherHost, MakeCore
from scheduler.simulation.gateway import AttemptKey, GatewayModel
from scheduler.simulation.link import Link, Pipe
from scheduler.simulation.node import NodeModel
from scheduler.simulation.scenario import MS, Scenario
from scheduler.simulation.traffic import Traffic

_RELEASE_NS_MAX = 100 * MS
_EOF_NS_MAX = 30 * MS
_RESTART_NS_MAX = 300 * MS
_LATE_LINK_SHARE = 0.1
_LATE_LINK_NS = 1_500 * MS
"""Longer than a recovery waits for announcements."""


class World:
    """The state of one run."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        rng: Random,
        history: History,
        make_core: MakeCore,
    ) -> None:
        self.scenario = scenario
        self.outcomes = Outcomes()
        self._clock = clock
        self._rng = rng
        self._history = history
        self._make_core = make_core
        config = scenario.config
        classes = distinct_classes(config.scheduler)
        self._tables = Tables.allocate(config.limits.nodes_max, classes)
        self._owners: dict[int, str] = {}
        self._incarnations = [0] * scenario.gateways
        self._links: dict[int, Link] = {}
        self.gateways = [self._new_gateway(index) for index in range(scenario.gateways)]
        self.host = self._new_host(takes_over=False)
        self.traffic = Traffic(scenario, clock, rng, self.gateways)
        self.nodes = [
            NodeModel(number, scenario, clock, rng, self._pass_code_on)
            for number in range(scenario.nodes)
        ]

    def start(self) -> None:
        """Link the gateways, bring the nodes up, let the sessions speak."""
        for index in range(self.scenario.gateways):
            self.link(index)
        for node in self.nodes:
            self._clock.after(self._rng.randrange(500 * MS), self.connect, node)
        self._clock.after(0, self._tick)
        self._clock.after(0, self._beat)
        self.traffic.start()

    def _tick(self) -> None:
        if self.host.alive:
            self.host.tick()
        self._clock.after(self.scenario.tick_ns, self._tick)

    def _beat(self) -> None:
        for node in self.nodes:
            node.beat()
        self._clock.after(self.scenario.heartbeat_ns, self._beat)

    # --- nodes ---------------------------------------------------------------------------

    def connect(self, node: NodeModel) -> None:
        """Connect a node to some gateway, unless it is connected or that one is down."""
        gateway = self._rng.choice(self.gateways)
        if node.gateway is None and gateway.alive:
            node.connect(gateway)

    def _pass_code_on(self, code: str) -> None:
        delay_ns = self._rng.randrange(700 * MS)
        self._clock.after(delay_ns, self.traffic.hear_code, code)

    # --- processes that come and go ------------------------------------------------------

    def _new_gateway(self, index: int) -> GatewayModel:
        self._incarnations[index] += 1
        return GatewayModel(
            index,
            self._incarnations[index],
            self._tables.nodes,
            self.outcomes,
            self,
            shares_payloads=self.scenario.gateways > 1,
        )

    def _new_host(self, *, takes_over: bool) -> DispatcherHost:
        return DispatcherHost(
            self.scenario.config,
            self._tables,
            self.scenario.gateways,
            self._clock,
            self._history,
            self._owners,
            self._make_core,
            takes_over=takes_over,
        )

    def link(self, index: int) -> None:
        """Connect a gateway with the dispatcher, if both are there and not connected yet."""
        gateway, host = self.gateways[index], self.host
        if index in self._links or not gateway.alive or not host.alive:
            return
        make_pipe = partial(Pipe, self._clock, self._rng, self.scenario.link_delay_ns_max)
        link = Link(make_pipe(partial(host.receive, index)), make_pipe(gateway.receive))
        self._links[index] = link
        host.attach(index, link.to_gateway)
        gateway.attach(link.to_dispatcher)

    def kill_gateway(self, index: int) -> None:
        """Kill a gateway; its sockets close, and it is started anew after a while."""
        gateway = self.gateways[index]
        if not gateway.alive:
            return
        self._history.note(self._clock.now_ns, "killed gateway", index)
        gateway.die()
        for node in self.nodes:
            if node.gateway is gateway:
                node.disconnected()
        link = self._links.get(index)
        if link is not None:
            link.to_gateway.drop()
        self._clock.after(self._rng.randrange(_EOF_NS_MAX), self._end_of_file, index)

    def _end_of_file(self, index: int) -> None:
        link = self._links.pop(index, None)
        if link is not None:
            link.to_dispatcher.cut()
            self.host.lose_gateway(index)
        self._clock.after(self._rng.randrange(_RESTART_NS_MAX), self._restart_gateway, index)

    def _restart_gateway(self, index: int) -> None:
        self.gateways[index] = self._new_gateway(index)
        self.link(index)

    def kill_dispatcher(self) -> None:
        """Kill the dispatcher; another takes over its tables after a while."""
        if not self.host.alive:
            return
        self._history.note(self._clock.now_ns, "killed", "dispatcher")
        self.host.die()
        links, self._links = self._links, {}
        for index, link in links.items():
            if self.gateways[index].alive:
                link.to_gateway.cut()
                self.gateways[index].detach()
            link.to_dispatcher.drop()  # last, since the gateway answered what it still read
        self._clock.after(self._rng.randrange(_RESTART_NS_MAX), self._replace_dispatcher)

    def _replace_dispatcher(self) -> None:
        self.host = self._new_host(takes_over=True)
        for index in range(self.scenario.gateways):
            delay_ns = self._rng.randrange(_RELEASE_NS_MAX)
            if self._rng.random() < _LATE_LINK_SHARE:
                delay_ns += _LATE_LINK_NS
            self._clock.after(delay_ns, self.link, index)

    def send_as(self, index: int, record: object) -> None:
        """Put a record into a gateway's pipe that the gateway itself would never send."""
        link = self._links.get(index)
        if link is not None and self.gateways[index].alive:
            link.to_dispatcher.send(record)

    # --- payloads ------------------------------------------------------------------------

    def request_is_there(self, payload: ArenaRef) -> bool:
        """Whether the request of a job can still be read."""
        return payload.block in self.gateways[payload.arena].jobs

    def take_result(self, payload: ArenaRef, job: int) -> bool:
        """Read a result and release it; False where it is gone."""
        shelf = self.gateways[payload.arena].shelf
        for key, kept in shelf.items():
            if kept.payload == payload:
                check(key[0] == job, "a result is that of its job", key, job)
                self._clock.after(self._rng.randrange(_RELEASE_NS_MAX), self._free, shelf, key)
                return True
        return False

    def _free(self, shelf: dict[AttemptKey, Result], key: AttemptKey) -> None:
        shelf.pop(key, None)

    def may_be_lost(self, payload: ArenaRef) -> bool:
        """Whether the gateway that kept it has died since."""
        gateway = self.gateways[payload.arena]
        return not gateway.alive or payload.block >> 40 != self._incarnations[payload.arena]

    def _owner_died(self, job: int) -> bool:
        index = gateway_of(job)
        return job < job_key_base(index, self._incarnations[index])

    # --- the end -------------------------------------------------------------------------

    def revive(self) -> None:
        """End all faults that don't end by themselves, so that the world can come to rest."""
        for node in self.nodes:
            node.recover()

    @property
    def is_quiet(self) -> bool:
        """Whether no job is left anywhere, and nothing is under way."""
        return (
            self.host.alive
            and not self.host.audit.recovering
            and self.host.audit.live == 0
            and all(gateway.alive and not gateway.jobs for gateway in self.gateways)
            and len(self._links) == self.scenario.gateways
            and not any(len(link) for link in self._links.values())
        )

    def settle(self) -> None:
        """Let what was read be released."""
        until_ns = self._clock.now_ns + 2 * _RELEASE_NS_MAX
        while self._clock.now_ns < until_ns:
            self._clock.step()

    def check_rest(self) -> None:
        """Check what must be true once nothing moves any more."""
        self.host.check_all()
        in_flight = self._tables.nodes.in_flight
        check(not in_flight.any(), "at rest every in-flight count is zero", in_flight.nonzero()[0])
        outcomes = self.outcomes
        check(outcomes.accepted == outcomes.ended, "each accepted job ended")
        for gateway in self.gateways:
            for (job, attempt, _), kept in gateway.shelf.items():
                check(
                    self._owner_died(job),
                    "each result is acknowledged, unless who waited for it died",
                    job,
                    attempt,
                    kept,
                )
