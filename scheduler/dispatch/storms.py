"""MODEL_NOT_AVAILABLE: which services are marked on which nodes, and for how long."""

from collections import deque

from scheduler.config import ModelNotAvailableSettings
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.settings import nanoseconds
from scheduler.dispatch.tables import Tables
from scheduler.protocol.missing import missing_reason_index

_Model = tuple[int, str]
"""A service's bit and a version of it."""


class ModelMarks:
    """Marks with a time to live, one for each version that a node named of a service.

    A service is marked on the node while one of its marks lives: jobs don't ask for versions. A
    storm of reports from one node is cut to its rate limit, which bounds its marks too.
    """

    def __init__(self, settings: ModelNotAvailableSettings, tables: Tables, counts: Counts) -> None:
        """What becomes of reports is counted by service, node and reason in `tables`."""
        self._counts = counts
        self._nodes = tables.nodes
        self._missing_total = tables.service_missing_total
        self._missing_by_reason_total = tables.missing_by_reason_total
        self._marked_total = tables.service_marked_total
        self._marked_by_reason_total = tables.marked_by_reason_total
        self._rate_limited_total = tables.service_rate_limited_total
        self._rate_limited_by_reason_total = tables.rate_limited_by_reason_total
        self._ttl_ns = nanoseconds(settings.unavailable_ttl_seconds)
        self._debounce_ns = nanoseconds(settings.debounce_window_seconds)
        self._window_ns = nanoseconds(settings.node_ratelimit_window_seconds)
        self._per_window_max = settings.node_ratelimit_max
        self._marked_ns: dict[int, dict[_Model, int]] = {}
        """Per node reference."""
        self._expiries: deque[tuple[int, Node, _Model]] = deque()
        self._windows: dict[int, tuple[int, int]] = {}

    def count(self, node: Node | None, mask: int, reason: str) -> None:
        """Count a report; `mask` has the service that it names, 0 where that is unknown."""
        self._counts.model_not_available_total += 1
        self._missing_by_reason_total[missing_reason_index(reason)] += 1
        if mask:
            self._missing_total[mask.bit_length() - 1] += 1
        if node is not None:
            self._nodes.model_missing_total[node.slot] += 1

    def report(self, node: Node, mask: int, version: str, reason: str, now_ns: int) -> int:
        """Mark the services in `mask` on `node`; return how many marks were set or renewed.

        A repeat for the same service and version ("": none was named) within the debounce window
        changes nothing, and neither does a report over the node's rate. The caller refits the node.
        """
        marked, cause = 0, missing_reason_index(reason)
        marked_ns = self._marked_ns.setdefault(node.ref, {})
        while mask:
            bit = mask & -mask
            mask ^= bit
            service = bit.bit_length() - 1
            model = (bit, version)
            last_ns = marked_ns.get(model)
            if last_ns is not None and now_ns - last_ns < self._debounce_ns:
                continue
            if not self._within_rate(node.ref, now_ns):
                self._counts.models_rate_limited_total += 1
                self._rate_limited_total[service] += 1
                self._rate_limited_by_reason_total[cause] += 1
                self._nodes.model_rate_limited_total[node.slot] += 1
                continue
            self._counts.models_marked_total += 1
            self._marked_total[service] += 1
            self._marked_by_reason_total[cause] += 1
            self._nodes.model_marked_total[node.slot] += 1
            marked_ns[model] = now_ns
            self._expiries.append((now_ns + self._ttl_ns, node, model))
            node.marked |= bit
            marked += 1
        return marked

    def _within_rate(self, ref: int, now_ns: int) -> bool:
        started_ns, count = self._windows.get(ref, (now_ns, 0))
        if now_ns - started_ns >= self._window_ns:
            started_ns, count = now_ns, 0
        if count >= self._per_window_max:
            return False
        self._windows[ref] = (started_ns, count + 1)
        return True

    def expire(self, now_ns: int) -> list[Node]:
        """Lift the marks whose time is over; return the nodes that changed."""
        changed = []
        while self._expiries and self._expiries[0][0] <= now_ns:
            _, node, model = self._expiries.popleft()
            marked_ns = self._marked_ns.get(node.ref, {})
            if model not in marked_ns or marked_ns[model] + self._ttl_ns > now_ns:
                continue  # forgotten, or renewed since
            del marked_ns[model]
            bit, _ = model
            if all(bit != other for other, _ in marked_ns):
                node.marked &= ~bit
                changed.append(node)
        return changed

    def forget(self, node: Node) -> None:
        """Drop what is known of a node that leaves the table."""
        self._windows.pop(node.ref, None)
        self._marked_ns.pop(node.ref, None)
        node.marked = 0
