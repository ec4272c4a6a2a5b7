"""What surrounds the core in its process, and the checks around each call of it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.records import ToDispatcher, ToGateway
from scheduler.simulation.audit import Audit
from scheduler.simulation.checks import History, check
from scheduler.simulation.clock import Clock
from scheduler.simulation.ledger import Effects, Ledger
from scheduler.simulation.link import Pipe

MakeCore = Callable[[Config, Tables, int], Dispatcher]

_AUDIT_EVERY_CALLS = 97
"""Coprime to the simulation's own rhythms."""


class _Tap(list[ToGateway]):
    """An outbox that also notes in what order all of them were written."""

    def __init__(self, gateway: int, effects: Effects) -> None:
        super().__init__()
        self._gateway = gateway
        self._effects = effects

    def append(self, record: ToGateway) -> None:
        """Take a record."""
        super().append(record)
        self._effects.append((self._gateway, record))


class DispatcherHost:
    """One dispatcher process."""

    def __init__(
        self,
        config: Config,
        tables: Tables,
        gateways: int,
        clock: Clock,
        history: History,
        owners: dict[int, str],
        make_core: MakeCore,
        *,
        takes_over: bool,
    ) -> None:
        self.alive = True
        self.core = make_core(config, tables, gateways)
        self.audit = Audit(self.core, config, tables)
        self._ledger = Ledger(config, tables, owners)
        self._columns = tables.nodes
        self._clock = clock
        self._history = history
        self._pipes: dict[int, Pipe] = {}
        self._effects: Effects = []
        self._calls = 0
        self._in_flight = np.zeros_like(tables.nodes.in_flight)
        for gateway in range(gateways):
            self.core.outbox[gateway] = _Tap(gateway, self._effects)
        if takes_over:
            self.core.start_recovery(clock.now_ns)

    def attach(self, gateway: int, pipe: Pipe) -> None:
        """Send what is for `gateway` through `pipe`."""
        self._pipes[gateway] = pipe

    def receive(self, gateway: int, record: ToDispatcher) -> None:
        """Give the core a record."""
        assert self.alive
        self._history.note(self._clock.now_ns, f"from gateway {gateway}", record)
        recovering = self.audit.recovering
        if not recovering:
            self._ledger.told(gateway, record)
        self.core.receive(gateway, record, self._clock.now_ns)
        self._settle(record, recovering=recovering)

    def tick(self) -> None:
        """Let the core do what is due."""
        recovering = self.audit.recovering
        self.core.tick(self._clock.now_ns)
        self._settle(None, recovering=recovering)

    def lose_gateway(self, gateway: int) -> None:
        """Tell the core that a gateway is gone."""
        self._history.note(self._clock.now_ns, "lost gateway", gateway)
        recovering = self.audit.recovering
        if not recovering:
            self._ledger.told_of_lost_gateway(gateway)
        self._pipes.pop(gateway, None)
        self.core.lose_gateway(gateway, self._clock.now_ns)
        self._settle(None, recovering=recovering)

    def die(self) -> None:
        """Stop; what was said but not read is lost."""
        self.alive = False

    def _settle(self, event: ToDispatcher | None, *, recovering: bool) -> None:
        """Check what the call did, and send what it said."""
        for gateway, effect in self._effects:
            self._history.note(self._clock.now_ns, f"to gateway {gateway}", effect)
        if not recovering:
            self._ledger.said(event, self._effects)
        elif not self.audit.recovering:
            self._take_over()
        self._check_capacity()
        self._check_counts()
        self._calls += 1
        if not self.audit.recovering and (self._calls % _AUDIT_EVERY_CALLS == 0 or recovering):
            self.check_all()
        self._effects.clear()
        for gateway, records in enumerate(self.core.outbox):
            self._flush(gateway, records)

    def _flush(self, gateway: int, records: list[Any]) -> None:
        pipe = self._pipes.get(gateway)
        if pipe is not None:
            for record in records:
                pipe.send(record)
        records.clear()

    def check_all(self) -> None:
        """Run the audit now."""
        self.audit.run(self._ledger)

    def _check_capacity(self) -> None:
        """No node has more jobs than slots.

        One that had more when it was taken over, because some of its results were still under
        way to a dispatcher that died, must not get further ones.
        """
        in_flight = self._columns.in_flight
        if not self.audit.recovering:
            bound = np.maximum(self._columns.capacity, self._in_flight)
            over = (in_flight > bound) | (in_flight < 0)
            check(not over.any(), "no node holds more than its capacity", over.nonzero()[0])
        self._in_flight[:] = in_flight

    def _take_over(self) -> None:
        self._in_flight[:] = self._columns.in_flight
        audit = self.audit
        self._ledger.take_over(audit.entries(), audit.connections(), audit.owners(), audit.codes())

    def _check_counts(self) -> None:
        counts = self.core.counts
        ended = counts.completed_total + counts.failed_total + counts.cancelled_total
        check(
            counts.submitted_total == ended + self.audit.live,
            "submitted = completed + failed + cancelled + live",
            counts.submitted_total,
            ended,
            self.audit.live,
        )
