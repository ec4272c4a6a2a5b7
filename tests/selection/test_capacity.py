import pytest

from scheduler.config import LoadBalancerSettings
from scheduler.dispatch.tables import Tables
from scheduler.protocol.status import Status
from scheduler.selection.capacity import (
    RETRY_AFTER_MS_MAX,
    RETRY_AFTER_MS_MIN,
    retry_after_ms,
    room,
)
from scheduler.selection.columns import NodeColumns
from scheduler.selection.exclusions import reasons
from scheduler.selection.services import words_of


def table(*rows: tuple[Status, int, int]) -> NodeColumns:
    """Return public nodes that have service 0, from (status, in flight, capacity)."""
    nodes = Tables.allocate(len(rows) + 1, 1).nodes
    for slot, (status, in_flight, capacity) in enumerate(rows):
        nodes.status[slot] = status
        nodes.in_flight[slot] = in_flight
        nodes.capacity[slot] = capacity
        nodes.public[slot] = 1
        nodes.installed[slot] = nodes.ready[slot] = words_of(1)
    return nodes


def test_free_slots_are_those_of_eligible_nodes() -> None:
    nodes = table(
        (Status.READY, 1, 4), (Status.READY, 4, 4), (Status.DRAINING, 0, 8), (Status.READY, 0, 2)
    )
    found = room(nodes, reasons(nodes, LoadBalancerSettings(), words_of(1)))
    assert (found.free_slots, found.eligible) == (5, 2)
    assert found.blocked == {"draining": (1, 8), "no_free_slot": (1, 0)}


def test_a_node_with_more_jobs_than_slots_takes_none_away_from_others() -> None:
    nodes = table((Status.DEGRADED, 6, 4), (Status.READY, 0, 1))
    found = room(nodes, reasons(nodes, LoadBalancerSettings(), words_of(1)))
    assert found.free_slots == 1
    assert found.blocked == {"not_ready": (1, 0)}


def test_an_empty_table_has_no_room() -> None:
    nodes = table()
    found = room(nodes, reasons(nodes, LoadBalancerSettings(), words_of(1)))
    assert found == (0, 0, {})


@pytest.mark.parametrize(
    ("members", "queued", "ended_per_second", "expected"),
    [
        (1, 0, 10, RETRY_AFTER_MS_MIN),
        (1, 20, 10, 2_000),
        (1, 10**6, 10, RETRY_AFTER_MS_MAX),
        (1, 3, 0, 3_000),
        (0, 0, 10, RETRY_AFTER_MS_MAX),
    ],
    ids=["no queue", "by the queue", "bounded", "nothing ended", "no node"],
)
def test_a_job_comes_back_when_the_queue_should_be_empty(
    members: int, queued: int, ended_per_second: int, expected: int
) -> None:
    found = retry_after_ms(members=members, queued=queued, ended_per_second=ended_per_second)
    assert found == expected
