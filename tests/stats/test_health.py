from collections.abc import Iterator

import pytest

from scheduler.memory.layout import (
    DISPATCHER_ROW,
    FIRST_GATEWAY_ROW,
    STATS_ROW,
    SUPERVISOR_ROW,
)
from scheduler.stats.health import PULSE_FRESH_NS, STALE_REFRESHES, HealthReader, missing
from scheduler.stats.schema import ProcessHealth
from tests.stats.world import DIMENSIONS, World, make_world

NOW_NS = 60_000_000_000
REFRESH_SECONDS = 5.0
ROWS = (SUPERVISOR_ROW, DISPATCHER_ROW, STATS_ROW, FIRST_GATEWAY_ROW, FIRST_GATEWAY_ROW + 1)


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


@pytest.fixture
def reader(world: World) -> HealthReader:
    for row in ROWS:
        world.beat(row, now_ns=NOW_NS - 5_900_000)
    return HealthReader(world.reader_views(), DIMENSIONS.gateways)


def test_every_process_has_its_row(world: World, reader: HealthReader) -> None:
    world.put("processes", FIRST_GATEWAY_ROW + 1, pid=77, restarts=3)
    world.put(
        "pulses", FIRST_GATEWAY_ROW + 1, loop_lag_max_ns=1_500_000, slow_paths_total=2, ready=0
    )
    health = reader.read(NOW_NS)
    assert [(process.role, process.index) for process in health] == [
        ("supervisor", 0),
        ("dispatcher", 0),
        ("stats", 0),
        ("gateway", 0),
        ("gateway", 1),
    ]
    assert health[-1] == ProcessHealth(
        role="gateway",
        index=1,
        pid=77,
        fresh=True,
        ready=False,
        restarts=3,
        heartbeat_age_ms=5,
        loop_lag_max_ms=1.5,
        slow_paths_total=2,
    )


def test_nothing_is_missing_when_all_serve(reader: HealthReader) -> None:
    fresh_ns = int(STALE_REFRESHES * REFRESH_SECONDS * 1e9) - 1
    assert missing(reader.read(NOW_NS), fresh_ns, REFRESH_SECONDS) == []


def test_a_snapshot_that_was_not_renewed_is_missing(reader: HealthReader) -> None:
    stale_ns = int(STALE_REFRESHES * REFRESH_SECONDS * 1e9)
    assert missing(reader.read(NOW_NS), stale_ns, REFRESH_SECONDS) == ["snapshot: 15.0 s old"]


def test_a_heartbeat_of_just_now_is_not_in_the_future(world: World, reader: HealthReader) -> None:
    world.beat(STATS_ROW, now_ns=NOW_NS + 10)  # written after the clock was read
    health = reader.read(NOW_NS)[STATS_ROW]
    assert (health.heartbeat_age_ms, health.fresh) == (0, True)


@pytest.mark.parametrize(
    ("block", "values", "problem"),
    [
        ("processes", {"pid": 0}, "gateway 0: not running"),
        ("pulses", {"heartbeat_ns": 0}, "gateway 0: starting"),
        (
            "pulses",
            {"heartbeat_ns": NOW_NS - PULSE_FRESH_NS},
            "gateway 0: no heartbeat for 2000 ms",
        ),
        ("pulses", {"ready": 0}, "gateway 0: not serving yet"),
    ],
)
def test_what_is_missing_is_said(
    world: World, reader: HealthReader, block: str, values: dict[str, int], problem: str
) -> None:
    world.put(block, FIRST_GATEWAY_ROW, **values)
    assert missing(reader.read(NOW_NS), 0, REFRESH_SECONDS) == [problem]


def test_the_last_fresh_moment(world: World, reader: HealthReader) -> None:
    world.put("pulses", DISPATCHER_ROW, heartbeat_ns=NOW_NS - PULSE_FRESH_NS + 1)
    assert reader.read(NOW_NS)[DISPATCHER_ROW].fresh


def test_a_process_that_is_gone_is_not_fresh(world: World, reader: HealthReader) -> None:
    world.put("processes", DISPATCHER_ROW, pid=0)
    assert not reader.read(NOW_NS)[DISPATCHER_ROW].fresh


def test_what_a_process_before_this_one_left_does_not_count(
    world: World, reader: HealthReader
) -> None:
    world.beat(FIRST_GATEWAY_ROW, now_ns=NOW_NS)
    world.put("processes", FIRST_GATEWAY_ROW, started_ns=NOW_NS + 1)
    process = reader.read(NOW_NS + 2)[FIRST_GATEWAY_ROW]
    assert not process.ready
    assert not process.fresh
    assert process.heartbeat_age_ms is None
