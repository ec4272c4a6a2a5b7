"""Jobs of one kind that wait for a node: those that failed over first, then fairly."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from scheduler.dispatch.fairness import Shares

if TYPE_CHECKING:
    from scheduler.dispatch.jobs import Job, Order
    from scheduler.dispatch.nodes import Node

_LOOK_AHEAD = 8
"""Queued jobs looked at for one that may run on a freed node; the first nearly always may."""

_DEAD_MIN = 64
"""Entries of jobs that have left are swept from the heap once they are so many and the most."""


class Backlog:
    """Jobs in the order of `job.order`, which whoever adds them gives them."""

    __slots__ = ("_fresh", "_heap", "_shares", "_urgent")

    def __init__(self) -> None:
        # OrderedDict, not dict: taking from the front of a dict gets slower with each taking.
        self._urgent: OrderedDict[int, Job] = OrderedDict()
        self._fresh: dict[int, Job] = {}
        # A job that leaves stays in the heap until it comes up: taking it out would cost a search.
        self._heap: list[tuple[Order, int]] = []
        self._shares = Shares()
        """Of the fresh ones."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._urgent)

    def __iter__(self) -> Iterator["Job"]:
        yield from self._urgent.values()
        yield from self._fresh.values()

    def add(self, job: "Job") -> None:
        """Queue `job`."""
        if job.attempt:
            self._urgent[job.key] = job
            return
        self._fresh[job.key] = job
        heapq.heappush(self._heap, (job.order, job.key))
        self._shares.add(job)

    def remove(self, job: "Job") -> None:
        """Take `job` out, from wherever it stands."""
        if job.key in self._urgent:
            del self._urgent[job.key]
            return
        del self._fresh[job.key]
        self._shares.remove(job)
        if len(self._heap) > 2 * len(self._fresh) + _DEAD_MIN:
            self._heap = [(waiting.order, key) for key, waiting in self._fresh.items()]
            heapq.heapify(self._heap)

    def urgent(self, most: int) -> list["Job"]:
        """Return the first `most` jobs that failed over."""
        return list(islice(self._urgent.values(), most))

    def first(self) -> "Job | None":
        """Return the job that is next among those that did not fail over."""
        while self._heap and self._heap[0][1] not in self._fresh:
            heapq.heappop(self._heap)
        return self._fresh[self._heap[0][1]] if self._heap else None

    def first_for(self, node: "Node") -> "Job | None":
        """Return the first job that may run on `node`."""
        for job in islice(self._urgent.values(), _LOOK_AHEAD):
            if job.may_run_on(node):
                return job
        first = self.first()
        if first is None or first.may_run_on(node):
            return first
        return self._look_behind_first(node)

    def _look_behind_first(self, node: "Node") -> "Job | None":
        passed_over: list[tuple[Order, int]] = []
        found = None
        while found is None and len(passed_over) < _LOOK_AHEAD:
            job = self.first()
            if job is None:
                break
            if job.may_run_on(node):
                found = job
            else:
                passed_over.append(heapq.heappop(self._heap))
        for entry in passed_over:
            heapq.heappush(self._heap, entry)
        return found

    def victim_for(self, job: "Job") -> "Job | None":
        """Return the fresh job that is to make room for `job`, None: it has to go itself."""
        return self._shares.victim_for(job)
