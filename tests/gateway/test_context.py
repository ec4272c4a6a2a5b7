"""The clocks of a gateway."""

import time

from tests.gateway.world import World


def test_the_monotonic_clock_is_that_of_the_machine(world: World) -> None:
    before = time.monotonic_ns()
    assert before <= world.contexts[0].now_ns <= time.monotonic_ns()


def test_peers_are_told_milliseconds_of_the_epoch(world: World) -> None:
    before = time.time_ns() // 1_000_000
    assert before <= world.contexts[0].now_ms <= time.time_ns() // 1_000_000
