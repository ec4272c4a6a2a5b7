"""What a failure is held against: the service, the node, or nobody."""

import pytest

from scheduler.protocol.ids import slot_of
from tests.dispatch.desk import NMT, Desk, settings

ONE_FAILURE = settings(
    scheduler={
        "job_timeout": {"failover_max_attempts": 1},
        "outlier_ejection": {"consecutive_failures": 1, "max_ejected_percent": 100},
    }
)


@pytest.mark.parametrize(
    ("code", "marked", "ejected"),
    [
        ("MODEL_NOT_AVAILABLE", True, False),
        ("INTERNAL_ERROR", False, True),
        ("UNSUPPORTED_FEATURE", False, False),
        ("BAD_AUDIO", False, False),
    ],
)
def test_a_failure_is_held_against_service_node_or_nobody(
    code: str, marked: bool, ejected: bool
) -> None:
    desk = Desk(ONE_FAILURE)
    desk.node("other", accept_public=False)
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, code, service=NMT)
    columns, slot = desk.tables.nodes, slot_of(node)
    assert bool(columns.marked[slot].any()) == marked
    assert bool(columns.withheld[slot]) == ejected


def test_what_a_node_reports_counts_also_where_the_job_is_over() -> None:
    desk = Desk(ONE_FAILURE)
    node = desk.node("n")
    desk.fail(77, node, "MODEL_NOT_AVAILABLE", service=NMT)
    slot = slot_of(node)
    assert desk.counts.model_not_available_total == 1
    assert desk.tables.nodes.model_missing_total[slot] == 1
    assert not desk.tables.nodes.marked[slot].any()


def test_a_service_that_is_not_named_means_all_that_the_job_needs() -> None:
    desk = Desk(ONE_FAILURE)
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE")
    columns, slot = desk.tables.nodes, slot_of(node)
    assert columns.marked[slot].tolist() == desk.tables.class_services[0].tolist()
    assert columns.model_marked_total[slot] == 3
