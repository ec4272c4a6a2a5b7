"""Counts and times the requests of operators."""

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from aiohttp import web

from scheduler.memory.histogram import bucket_of
from scheduler.memory.layout import HISTOGRAM_BUCKETS

UNKNOWN_PATH = "other"
"""Stands for all paths that don't exist, so that probing them makes no new label."""

STATS_PATH = "/api/v1/stats"


class RequestMeter:
    """What this process answered since its start. `durations` has log buckets of ns."""

    def __init__(self, is_stale: Callable[[], bool]) -> None:
        """`is_stale` tells whether the present snapshot missed its refreshes."""
        self._is_stale = is_stale
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations = np.zeros(HISTOGRAM_BUCKETS, np.int64)
        self.stale_total = 0
        self.connections = 0
        """Open now."""
        self.connections_refused_total = 0
        self.bad_requests_total = 0
        self.slow_readers_cut_total = 0

    def count(self, request: web.Request, response: web.StreamResponse, started_ns: int) -> None:
        """Count an answer to a request that came at `started_ns`, monotonic."""
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else UNKNOWN_PATH
        self.requests[path, response.status] += 1
        if path == STATS_PATH and self._is_stale():
            self.stale_total += 1
        if response.content_type != "text/event-stream":
            self.durations[bucket_of(time.monotonic_ns() - started_ns)] += 1
