"""Keeps account of the core from outside: from what it was told and what it said.

The ledger believes nothing that the core says of itself. From the records alone it works out
which attempt holds which node, and holds each effect against that.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scheduler.config import Config
from scheduler.dispatch.flow import ELSEWHERE
from scheduler.dispatch.tables import Tables
from scheduler.memory.layout import SERVICE_WORDS
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, gateway_of, slot_of
from scheduler.protocol.records import (
    Announce,
    Assign,
    AttemptLost,
    CancelAttempt,
    CancelJob,
    ClaimPairing,
    Deliver,
    Dispatched,
    Failed,
    Failure,
    NodeAccepted,
    NodeGone,
    NodeStatusChanged,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
    PartialText,
    RegisterNode,
    Result,
    Submit,
    ToDispatcher,
    ToGateway,
)
from scheduler.protocol.requirements import FEATURES, STAGES, required_services
from scheduler.protocol.status import Status
from scheduler.selection.columns import Words
from scheduler.simulation.checks import check

Effects = list[tuple[int, ToGateway]]
"""(gateway, record) in the order in which the core said them."""


@dataclass(slots=True)
class Entry:
    """A live job: accepted by this core, without a terminal record."""

    requirement: int
    paired: int
    attempt: int = 0
    node: int = NO_NODE
    taken_over: bool = False
    failed_on: set[int] = field(default_factory=set)
    lost_on: int = NO_NODE
    """The node that had the last attempt when it was lost."""


class Ledger:
    """Accounts of one dispatcher."""

    def __init__(self, config: Config, tables: Tables, owners: dict[int, str]) -> None:
        """`owners` maps node references to node ids, over all dispatchers of a run."""
        self.jobs: dict[int, Entry] = {}
        self.jobs_on: dict[int, set[int]] = defaultdict(set)
        self._attempts_max = config.scheduler.job_timeout.failover_max_attempts
        self._settings = config.scheduler
        self._tables = tables
        self._owners = owners
        self._gateway_of_node: dict[int, int] = {}
        self._codes: dict[str, int] = {}
        self._words: dict[int, Words] = {}
        self._withheld = tables.nodes.withheld.copy()
        """As of the call before."""

    # --- what the core is told -----------------------------------------------------------

    def told(self, gateway: int, event: ToDispatcher) -> None:
        """Account for a record before the core has it."""
        match event:
            case Submit() | Announce() if event.job not in self.jobs:
                attempt, lost_on = 0, NO_NODE
                if isinstance(event, Announce):
                    attempt, lost_on = event.attempt, event.node
                self.jobs[event.job] = Entry(
                    event.requirement,
                    event.paired,
                    attempt,
                    taken_over=attempt > 0,
                    lost_on=lost_on,
                )
            case CancelJob():
                self._end(event.job)
            case NodeGone() if self._gateway_of_node.get(event.node) == gateway:
                self._lose(event.node)
            case Failure() if self.holds(event):
                entry = self.jobs[event.job]
                if event.code in ELSEWHERE:
                    entry.failed_on.add(event.node)
                self._release(event.job, entry)
            case AttemptLost() if self.holds(event):
                self._release(event.job, self.jobs[event.job])

    def told_of_lost_gateway(self, gateway: int) -> None:
        """Account for a gateway's death before the core hears of it."""
        for node in [n for n, g in self._gateway_of_node.items() if g == gateway]:
            self._lose(node)
        for job in [job for job in self.jobs if gateway_of(job) == gateway]:
            self._end(job)

    def holds(self, event: Result | Failure | AttemptLost) -> bool:
        """Whether that attempt holds that node, by these accounts."""
        entry = self.jobs.get(event.job)
        return entry is not None and (entry.attempt, entry.node) == (event.attempt, event.node)

    def _lose(self, node: int) -> None:
        self._gateway_of_node.pop(node, None)
        self._codes = {code: of for code, of in self._codes.items() if of != node}
        for job in self.jobs_on.pop(node, ()):
            self.jobs[job].node = NO_NODE
            self.jobs[job].lost_on = node

    def _release(self, job: int, entry: Entry) -> None:
        if entry.node != NO_NODE:
            self.jobs_on[entry.node].discard(job)
            entry.node = NO_NODE

    def _end(self, job: int) -> None:
        entry = self.jobs.pop(job, None)
        if entry is not None:
            self._release(job, entry)

    # --- what the core says --------------------------------------------------------------

    def said(self, event: ToDispatcher | None, effects: Effects) -> None:
        """Hold the effects of one call against the accounts; `event` None: it was a tick."""
        held = isinstance(event, Result) and self.holds(event)
        assigned = {(e.job, e.attempt, e.node) for _, e in effects if isinstance(e, Assign)}
        for gateway, effect in effects:
            match effect:
                case Assign():
                    self._assigned(gateway, effect)
                case Deliver():
                    self._delivered(gateway, effect, event if held else None)
                    held = False
                case Failed():
                    check(gateway == gateway_of(effect.job), "the owner is answered", effect)
                    check(effect.job in self.jobs, "only a live job fails", effect)
                    self._end(effect.job)
                case CancelAttempt():
                    self._cancelled(effect)
                case Dispatched():
                    told = (effect.job, effect.attempt, effect.node)
                    check(told in assigned, "what is dispatched is assigned", effect)
                    check(gateway == gateway_of(effect.job), "the owner is told", effect)
                case NodeAccepted():
                    self._accepted(gateway, effect, event)
                case _:
                    self._said_otherwise(effect, event)
        check(not held, "the result of the attempt that holds the job is delivered", event)
        if isinstance(event, RegisterNode):
            self._reclaimed(event, effects)
        self._withheld[:] = self._tables.nodes.withheld

    def _assigned(self, gateway: int, effect: Assign) -> None:
        entry = self.jobs.get(effect.job)
        check(entry is not None, "only a live job is assigned", effect)
        assert entry is not None
        check(entry.node == NO_NODE, "a job holds one slot or none", effect, entry)
        check(effect.attempt == entry.attempt + 1, "attempts count up", effect, entry)
        check(
            effect.attempt <= self._attempts_max or entry.taken_over,
            "attempts are limited",
            effect,
        )
        check(entry.paired in {NO_NODE, effect.node}, "a paired job goes to its node", effect)
        check(effect.node not in entry.failed_on, "no node gets a job it failed", effect, entry)
        check(
            self._gateway_of_node.get(effect.node) == gateway,
            "a job goes to the gateway that holds the node",
            effect,
        )
        if gateway == gateway_of(effect.job):
            check(effect.payload is None, "a gateway isn't told where its own job lies", effect)
        entry.attempt, entry.node = effect.attempt, effect.node
        self.jobs_on[effect.node].add(effect.job)
        self._check_fit(effect, entry)

    def _check_fit(self, effect: Assign, entry: Entry) -> None:
        nodes, slot = self._tables.nodes, slot_of(effect.node)
        check(nodes.ref[slot] == effect.node, "a job goes to who has the row", effect)
        check(entry.paired != NO_NODE or nodes.public[slot] == 1, "private is private", effect)
        if nodes.status[slot] == Status.OFFLINE:
            return  # lost within the same call, after it was chosen
        check(nodes.status[slot] == Status.READY, "only ready nodes get jobs", effect)
        # Not one that was ejected within this call, perhaps after the job went there.
        withheld = min(nodes.withheld[slot], self._withheld[slot])
        check(
            entry.paired != NO_NODE or withheld < nodes.capacity[slot],
            "an ejected node gets no jobs",
            effect,
        )
        words = self._required(entry.requirement)
        usable = nodes.ready[slot] & ~nodes.marked[slot]
        check(bool((usable & words == words).all()), "the node has what the job needs", effect)

    def _required(self, requirement: int) -> Words:
        words = self._words.get(requirement)
        if words is None:
            core, features = self._settings.core_services, self._settings.feature_services
            services = required_services(
                requirement,
                {stage: getattr(core, f"{stage}_service_id") for stage in STAGES},
                {feature: getattr(features, feature) for feature in FEATURES},
            )
            bits = np.zeros(64 * SERVICE_WORDS, np.uint8)
            bits[[self._tables.service_ids.tolist().index(s.encode()) for s in services]] = 1
            words = np.packbits(bits, bitorder="little").view(np.uint64)
            self._words[requirement] = words
        return words

    def _delivered(self, gateway: int, effect: Deliver, event: Any) -> None:
        check(gateway == gateway_of(effect.job), "the owner is answered", effect)
        check(effect.job in self.jobs, "only a live job is delivered", effect)
        check(
            event is not None and (event.job, event.attempt) == (effect.job, effect.attempt),
            "a result counts only from the attempt that holds the job",
            effect,
            event,
        )
        check(effect.payload == event.payload, "what was brought is delivered", effect)
        self._end(effect.job)

    def _cancelled(self, effect: CancelAttempt) -> None:
        entry = self.jobs.get(effect.job)
        if entry is not None and (entry.attempt, entry.node) == (effect.attempt, effect.node):
            entry.failed_on.add(effect.node)  # it ran out of time
            self._release(effect.job, entry)

    def _reclaimed(self, event: RegisterNode, effects: Effects) -> None:
        """Account for the attempts that a node goes on with.

        Those are granted of what it claims; of what its gateway announces, it is all that isn't
        superseded.
        """
        accepted = [effect for _, effect in effects if isinstance(effect, NodeAccepted)]
        ended = {(e.job, e.attempt) for _, e in effects if isinstance(e, CancelAttempt)}
        for answer in accepted:
            node, goes_on = answer.node, answer.granted
            if event.announced:
                goes_on = [h for h in event.running if (h.job, h.attempt) not in ended]
            for held in goes_on:
                check(held in event.running, "a node goes on with what it says", held)
                entry = self.jobs.get(held.job)
                check(entry is not None, "only a live job is gone on with", held)
                assert entry is not None
                check(
                    (entry.attempt, entry.lost_on) == (held.attempt, node),
                    "a node goes on with what was lost on it",
                    held,
                    entry,
                )
                check(entry.node == NO_NODE, "a job holds one slot or none", held, entry)
                entry.node = node
                self.jobs_on[node].add(held.job)

    def _accepted(self, gateway: int, effect: NodeAccepted, event: Any) -> None:
        assert isinstance(event, RegisterNode)
        owner = self._owners.setdefault(effect.node, event.node_id)
        check(owner == event.node_id, "a reference stands for one node for ever", effect, owner)
        check(effect.node not in self._gateway_of_node, "one connection per node", effect)
        self._gateway_of_node[effect.node] = gateway

    def _said_otherwise(self, effect: ToGateway, event: Any) -> None:
        match effect:
            case NodeStatusChanged() if effect.status == Status.OFFLINE:
                self._lose(effect.node)
            case PartialText():
                check(effect.job in self.jobs, "only a live job gets text", effect)
            case PairingOffered() if effect.accepted:
                self._codes = {c: of for c, of in self._codes.items() if of != effect.node}
                self._codes[effect.code] = effect.node
            case PairingClaimed():
                node = self._codes.get(effect.code)
                check(node == effect.node, "a code pairs once, with its node", effect)
            case PairingAnswer() if effect.code == "":
                assert isinstance(event, ClaimPairing)
                node = self._codes.pop(event.code, None)
                check(node == effect.node, "a code pairs once, with its node", effect, event)
            case PairingAnswer():
                check(effect.code in _REFUSALS, "a refusal says why", effect)

    # --- a dispatcher that took over -----------------------------------------------------

    def take_over(
        self,
        jobs: dict[int, Entry],
        gateway_of_node: dict[int, int],
        owners: dict[int, str],
        codes: dict[str, int],
    ) -> None:
        """Start from what the core has found out from the announcements."""
        self.jobs = jobs
        self._gateway_of_node = gateway_of_node
        self._codes = codes
        for node, node_id in owners.items():
            owner = self._owners.setdefault(node, node_id)
            check(owner == node_id, "a reference stands for one node for ever", node, owner)
        self.jobs_on = defaultdict(set)
        for job, entry in jobs.items():
            if entry.node != NO_NODE:
                self.jobs_on[entry.node].add(job)


_REFUSALS = frozenset({ErrorCode.INVALID_PAIRING_CODE, ErrorCode.RATE_LIMITED})
