"""Asks a running scheduler to replace its gateways, and watches it do so in its memory."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import StartError
from scheduler.memory.layout import FIRST_GATEWAY_ROW
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from scheduler.supervisor.runtime_dir import read_endpoints

_LOOK_SECONDS = 0.05


def roll(runtime_dir: Path, timeout_seconds: float) -> Iterator[int]:
    """Yield each gateway's index once it was replaced and serves again.

    Raises StartError where no scheduler serves, LayoutError where it is of another version,
    TimeoutError where a gateway is not replaced in time.
    """
    endpoints = read_endpoints(runtime_dir)
    if endpoints is None:
        raise StartError(f"no scheduler serves in {runtime_dir}; start one, or set --runtime-dir")
    with closing(Segment.open(runtime_dir / "memory")) as segment:
        gateways = _Gateways(segment.views)
        before = gateways.restarts.copy()
        deadline = time.monotonic() + timeout_seconds
        try:
            os.kill(endpoints.pid, signal.SIGUSR2)
        except ProcessLookupError:
            raise StartError(f"the scheduler in {runtime_dir} has ended") from None
        waiting = set(range(len(before)))
        while waiting:
            serving = gateways.serving()
            done = {i for i in waiting if gateways.restarts[i] > before[i] and serving[i]}
            yield from sorted(done)
            waiting -= done
            if waiting and time.monotonic() > deadline:
                left = ", ".join(map(str, sorted(waiting)))
                raise TimeoutError(f"not replaced within {timeout_seconds:g} s: gateway {left}")
            time.sleep(_LOOK_SECONDS if waiting else 0)


class _Gateways:
    """The gateways' rows of the blocks that have one for each process."""

    def __init__(self, views: Views) -> None:
        def rows(block: str, name: str) -> NDArray[np.int64]:
            return views.column(block, name)[FIRST_GATEWAY_ROW:]

        self.restarts = rows("processes", "restarts")
        self._started_ns = rows("processes", "started_ns")
        self._heartbeat_ns = rows("pulses", "heartbeat_ns")
        self._ready = rows("pulses", "ready")

    def serving(self) -> NDArray[np.bool_]:
        """Return which serve: what the process before one left in its row does not count."""
        serving: NDArray[np.bool_] = self._heartbeat_ns >= self._started_ns
        serving &= self._ready != 0
        return serving
