from collections.abc import Iterator

import pytest

from scheduler.bundle.blocks import Describer, WallClock, utc_text
from scheduler.memory.layout import (
    BLOCKS,
    EXCLUSIONS,
    GATEWAY_CODES,
    NODES,
    PULSES,
    STORMS,
    Block,
)
from scheduler.protocol.codes import CODE_LABELS
from scheduler.protocol.exclusions import SAMPLES_MAX
from scheduler.protocol.missing import MISSING_REASONS
from scheduler.protocol.status import Status
from tests.stats.world import World, make_world

CLOCK = WallClock(offset_ns=1_700_000_000_000_000_000)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


def describer(world: World) -> Describer:
    services = [*world.services, *[""] * (256 - len(world.services))]
    return Describer(world.reader_views(), CLOCK, services)


def test_times_of_day_are_utc_to_the_microsecond() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00.000000Z"
    assert utc_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert CLOCK.text(1_000_000) == "2023-11-14T22:13:20.001000Z"


def test_a_node_is_described_by_its_columns(world: World) -> None:
    for service in ("asr", "nmt"):
        world.add_service(service)
    world.put_node(
        2,
        "node-Ü",
        installed=("asr", "nmt"),
        ready=("nmt",),
        heartbeat_ns=1_000_000,
        cpu_percent=12.5,
    )
    node = describer(world).rows(NODES)[2]
    assert node["node_id"] == "node-Ü"
    assert node["status"] == Status.READY.wire
    assert (node["installed"], node["ready"], node["marked"]) == (["asr", "nmt"], ["nmt"], [])
    assert node["heartbeat_at"] == "2023-11-14T22:13:20.001000Z"
    assert node["registered_at"] is None
    assert node["cpu_percent"] == 12.5


def test_what_counts_by_something_names_it(world: World) -> None:
    world.put("storms", 0, model_missing_by_reason_total=range(len(MISSING_REASONS)))
    (storms,) = describer(world).rows(STORMS)
    reasons = storms["model_missing_by_reason_total"]
    assert reasons == {reason: index for index, reason in enumerate(MISSING_REASONS)}
    codes = describer(world).rows(GATEWAY_CODES)[0]
    assert tuple(codes["jobs_failed_by_code_total"]) == CODE_LABELS
    (exclusions,) = describer(world).rows(EXCLUSIONS)
    assert exclusions["excluded_total"]["no_free_slot"] == 0
    assert exclusions["sample_refs"]["no_free_slot"] == [0] * SAMPLES_MAX


def test_columns_may_be_left_out(world: World) -> None:
    row = describer(world).rows(PULSES, without=("ready",))[0]
    assert "ready" not in row
    assert "heartbeat_at" in row


def test_text_that_is_no_utf_8_is_shown_as_far_as_it_is(world: World) -> None:
    world.put("nodes", 0, node_id=b"ab\xff")
    assert describer(world).rows(NODES)[0]["node_id"] == "ab\ufffd"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_block_of_the_layout_can_be_described(block: Block, world: World) -> None:
    rows = describer(world).rows(block)
    assert len(rows) == world.segment.dimensions.rows(block.rows)
    assert len(rows[0]) == len(block.columns), "two columns have the same name"
