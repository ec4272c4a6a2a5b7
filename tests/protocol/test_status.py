import pytest

from scheduler.protocol.status import TRANSITIONS, Status


def test_wire_names() -> None:
    names = {status.wire for status in Status} - {Status.FREE.wire}
    assert names == {"registering", "ready", "degraded", "draining", "offline"}


def test_every_status_has_its_row() -> None:
    assert TRANSITIONS.keys() == set(Status)
    assert all(status not in following for status, following in TRANSITIONS.items())


def test_a_zeroed_row_is_free() -> None:
    assert Status(0) is Status.FREE


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FREE, Status.OFFLINE}))
def test_any_node_may_go_offline(status: Status) -> None:
    assert Status.OFFLINE in TRANSITIONS[status]


@pytest.mark.parametrize("status", [Status.REGISTERING, Status.READY, Status.DEGRADED])
def test_any_live_node_may_be_drained(status: Status) -> None:
    assert Status.DRAINING in TRANSITIONS[status]


def test_health_moves_a_node_only_as_the_rules_say() -> None:
    leads_to_ready = {status for status in Status if Status.READY in TRANSITIONS[status]}
    assert leads_to_ready == {Status.REGISTERING, Status.DEGRADED}
    leads_to_degraded = {status for status in Status if Status.DEGRADED in TRANSITIONS[status]}
    assert leads_to_degraded == {Status.REGISTERING, Status.READY}


def test_rows_are_freed_only_when_offline_and_every_status_can_be_reached() -> None:
    assert [status for status in Status if Status.FREE in TRANSITIONS[status]] == [Status.OFFLINE]
    reached, frontier = set[Status](), {Status.FREE}
    while frontier:
        reached |= frontier
        frontier = {after for status in frontier for after in TRANSITIONS[status]} - reached
    assert reached == set(Status)
