"""Results of nodes connected here, kept until the job's gateway has them.

A result for a job of this gateway stays here and is taken when the dispatcher says Deliver. One
for another gateway's job lies in the arena until that gateway releases it. Whatever a dispatcher
has not settled when it dies is told to the next one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.gateway.payloads import Payloads
from scheduler.gateway.splice import ResultTail
from scheduler.protocol.ids import gateway_of
from scheduler.protocol.records import ArenaRef, Result, RunningAttempt

KEPT_NS_MAX = 180_000_000_000
"""A result that nobody released by then belongs to a gateway that died meanwhile."""

AttemptKey = tuple[int, int, int]
"""(job, attempt, node). With the node, so that what one is told never hits another's result."""


@dataclass(slots=True)
class _Kept:
    kept_ns: int
    tail: ResultTail | None
    ref: ArenaRef | None


class ResultShelf:
    """Results without an acknowledgement, oldest first."""

    def __init__(self, gateway: int, payloads: Payloads) -> None:
        self._gateway = gateway
        self._payloads = payloads
        self._kept: dict[AttemptKey, _Kept] = {}
        self._by_block: dict[int, AttemptKey] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(
        self, job: int, attempt: int, node: int, tail: ResultTail, read_ns: int
    ) -> Result | None:
        """Keep a result that was read at `read_ns`; return the record that tells of it.

        None: there is one already, which is told of. Raises ArenaFull.
        """
        key = (job, attempt, node)
        if key in self._kept:
            return None
        if gateway_of(job) == self._gateway:
            self._payloads.hold(len(tail.body))
            self._kept[key] = _Kept(read_ns, tail, None)
            return Result(job, attempt, node, None, read_ns)
        ref = self._payloads.put(*tail.encode())
        self._kept[key] = _Kept(read_ns, None, ref)
        self._by_block[ref.block] = key
        return Result(job, attempt, node, ref, read_ns)

    def take(self, job: int, attempt: int, node: int) -> ResultTail | None:
        """Hand out the result of a job of this gateway."""
        kept = self._kept.pop((job, attempt, node), None)
        if kept is None or kept.tail is None:
            return None
        self._payloads.let_go(len(kept.tail.body))
        return kept.tail

    def discard(self, job: int, attempt: int, node: int) -> None:
        """Drop a result that counts no more."""
        kept = self._kept.pop((job, attempt, node), None)
        if kept is not None and kept.tail is not None:
            self._payloads.let_go(len(kept.tail.body))
        if kept is not None and kept.ref is not None:
            del self._by_block[kept.ref.block]
            self._payloads.free(kept.ref.block)

    def sweep(self, now_ns: int) -> None:
        """Free what other gateways are done with, and what nobody will ask for any more."""
        for block in self._payloads.released():
            key = self._by_block.get(block)
            if key is not None:
                self.discard(*key)
        over = []
        for key, kept in self._kept.items():
            if now_ns - kept.kept_ns < KEPT_NS_MAX:
                break
            over.append(key)
        for key in over:
            self.discard(*key)

    def attempts(self) -> dict[int, list[RunningAttempt]]:
        """Return the attempts whose results are kept, by node."""
        by_node: dict[int, list[RunningAttempt]] = {}
        for job, attempt, node in self._kept:
            by_node.setdefault(node, []).append(RunningAttempt(job, attempt))
        return by_node

    def records(self) -> Iterator[Result]:
        """Yield the record of each kept result, to be told again."""
        for (job, attempt, node), kept in self._kept.items():
            yield Result(job, attempt, node, kept.ref)
