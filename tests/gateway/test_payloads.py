"""Payloads: in the arena, read by others, freed by their owner alone."""

import pytest

from scheduler.config import Config, LimitSettings
from scheduler.errors import ArenaFull
from scheduler.memory.layout import RING_ENTRIES
from scheduler.protocol.records import ArenaRef
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import ARENA_BYTES, World


def test_one_gateway_shares_with_nobody(make_world: MakeWorld) -> None:
    assert not make_world(gateways=1).payloads[0].shared
    assert make_world(gateways=2).payloads[0].shared


def test_another_gateway_reads_and_releases_and_the_owner_is_told(make_world: MakeWorld) -> None:
    owner, reader = make_world(gateways=2).payloads
    ref = owner.put(b"one", b"two")
    assert reader.fetch(ref) == b"onetwo"
    reader.release(ref)
    assert owner.released() == [ref.block]
    owner.free(ref.block)
    assert reader.fetch(ref) is None


def test_what_is_gone_or_never_was_is_counted(make_world: MakeWorld) -> None:
    world = make_world(gateways=2)
    assert world.payloads[0].fetch(ArenaRef(1, 0, 5, 77)) is None
    assert world.payloads[0].fetch(ArenaRef(9, 0, 5, 77)) is None
    assert world.payloads[0].fetch(ArenaRef(-1, 0, 5, 77)) is None
    assert world.count("payloads_lost_total") == 3


def test_a_full_arena_is_counted_and_its_use_shown(world: World) -> None:
    payloads = world.payloads[0]
    ref = payloads.put(bytes(ARENA_BYTES // 2))
    assert world.count("arena_used_bytes") == ARENA_BYTES
    with pytest.raises(ArenaFull):
        payloads.put(b"x")
    assert world.count("arena_full_total") == 1
    payloads.free(ref.block)
    assert world.count("arena_used_bytes") == 0


def test_bytes_that_stay_in_the_process_are_bounded_like_an_arena(make_world: MakeWorld) -> None:
    world = make_world(Config(limits=LimitSettings(arena_bytes=8 << 20)))
    payloads = world.payloads[0]
    payloads.hold(8 << 20)
    assert world.count("payload_bytes") == 8 << 20
    with pytest.raises(ArenaFull):
        payloads.hold(1)
    payloads.let_go(8 << 20)
    payloads.hold(1)


def test_a_release_that_found_the_ring_full_is_told_later(make_world: MakeWorld) -> None:
    owner, reader = make_world(gateways=2).payloads
    for block in range(RING_ENTRIES + 5):
        reader.release(ArenaRef(0, 0, 1, block))
    assert len(owner.released()) == RING_ENTRIES
    reader.released()
    assert owner.released() == list(range(RING_ENTRIES, RING_ENTRIES + 5))
