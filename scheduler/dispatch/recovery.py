"""A new dispatcher takes over: what the gateways announce, put together.

Each gateway announces its nodes with the attempts they hold, then its unfinished jobs, then
says that this was all. Everything else it says meanwhile waits. A job whose last attempt is held
by a node goes on there; one that no node holds is placed anew; an attempt that nobody waits for
is cancelled. A gateway that doesn't finish in time is not waited for.

Only what gateways know counts for that. Nodes that register meanwhile may say that they hold an
attempt too: they come in when all members are known, and may go on with what was lost on them.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scheduler.protocol.ids import NO_NODE, gateway_of
from scheduler.protocol.records import Announce, RegisterNode, ToDispatcher

if TYPE_CHECKING:
    from scheduler.dispatch.nodes import Node

ANNOUNCE_DEADLINE_NS = 1_000_000_000


class Recovery:
    """Collects announcements until all gateways are done or the deadline passed."""

    def __init__(self, gateways: Iterable[int], now_ns: int) -> None:
        self._waiting_for = set(gateways)
        self._deadline_ns = now_ns + ANNOUNCE_DEADLINE_NS
        self._jobs: dict[int, Announce] = {}
        self._holders: dict[int, list[tuple[int, int]]] = {}
        self._deferred: list[tuple[int, ToDispatcher]] = []

    def note_node(self, record: RegisterNode, ref: int) -> None:
        """Note the attempts that an announced node holds."""
        for running in record.running:
            self._holders.setdefault(running.job, []).append((running.attempt, ref))

    def note_job(self, _gateway: int, record: Announce, _now_ns: int) -> None:
        """Note an announced job."""
        self._jobs[record.job] = record

    def defer(self, gateway: int, event: ToDispatcher, _now_ns: int) -> None:
        """Keep an event until all is told."""
        self._deferred.append((gateway, event))

    def finish_gateway(self, gateway: int) -> None:
        """The gateway has told everything."""
        self._waiting_for.discard(gateway)

    def lose_gateway(self, gateway: int, nodes: Iterable["Node"]) -> None:
        """The gateway is gone, its jobs with it, and what its `nodes` held."""
        self._waiting_for.discard(gateway)
        lost = {node.ref for node in nodes}
        for job, holders in self._holders.items():
            self._holders[job] = [(attempt, ref) for attempt, ref in holders if ref not in lost]
        for job in [job for job in self._jobs if gateway_of(job) == gateway]:
            del self._jobs[job]
        self._deferred = [item for item in self._deferred if item[0] != gateway]

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing more is waited for."""
        return not self._waiting_for or now_ns >= self._deadline_ns

    def jobs(self) -> Iterator[tuple[Announce, int, int]]:
        """Yield each job with its last attempt and the node that holds it, NO_NODE for none."""
        for record in self._jobs.values():
            attempt, ref = max(self._holders.get(record.job, ()), default=(0, NO_NODE))
            if attempt < record.attempt:
                attempt, ref = record.attempt, NO_NODE
            yield record, attempt, ref

    def held(self) -> Iterator[tuple[int, int, int]]:
        """Yield (job, attempt, node reference) of all attempts that nodes hold."""
        for job, holders in self._holders.items():
            for attempt, ref in holders:
                yield job, attempt, ref

    def deferred(self) -> list[tuple[int, ToDispatcher]]:
        """Return (gateway, event) in the order they came."""
        return self._deferred
