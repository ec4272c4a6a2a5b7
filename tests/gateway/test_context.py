"""The clocks of a gateway."""

import time

from scheduler.errors import PeerError
from scheduler.protocol.codes import ErrorCode, code_index
from tests.gateway.world import World


def test_the_monotonic_clock_is_that_of_the_machine(world: World) -> None:
    before = time.monotonic_ns()
    assert before <= world.contexts[0].now_ns <= time.monotonic_ns()


def test_peers_are_told_milliseconds_of_the_epoch(world: World) -> None:
    before = time.time_ns() // 1_000_000
    assert before <= world.contexts[0].now_ms <= time.time_ns() // 1_000_000


def test_a_refusal_is_counted_and_under_its_code(world: World) -> None:
    world.contexts[0].count_refusal(PeerError(ErrorCode.INVALID_SESSION, "no"))
    refused = world.segment.views.column("gateway_codes", "refusals_by_code_total")
    assert refused[0, code_index(ErrorCode.INVALID_SESSION)] == refused.sum() == 1
    assert world.count("messages_refused_total") == 1
