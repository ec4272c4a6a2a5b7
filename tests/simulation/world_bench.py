"""A whole simulated world for the tests of those who act on it."""

from dataclasses import replace
from random import Random
from typing import Any

from scheduler.dispatch.core import Dispatcher
from scheduler.simulation.checks import History
from scheduler.simulation.clock import Clock
from scheduler.simulation.scenario import MS, Scenario
from scheduler.simulation.world import World


class WorldBench:
    """A world of three gateways and ten nodes without faults of their own."""

    def __init__(self, seed: int = 1, **changes: Any) -> None:
        self.clock = Clock()
        self.rng = Random(seed)
        self.history = History()
        calm = {
            "gateways": 3,
            "nodes": 10,
            "sessions": 20,
            "failing_share": 0.0,
            "silent_share": 0.0,
            "arrival_ns": 20 * MS,
            "work_ns": 50 * MS,
        }
        scenario = replace(Scenario.draw(Random(36)), **(calm | changes))
        self.world = World(scenario, self.clock, self.rng, self.history, Dispatcher)

    def run(self, seconds: float) -> None:
        until_ns = self.clock.now_ns + round(seconds * 1_000) * MS
        while self.clock.now_ns < until_ns:
            self.clock.step()
