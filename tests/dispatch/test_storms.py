import pytest

from scheduler.config import ModelNotAvailableSettings
from scheduler.dispatch.counts import Counts
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.settings import nanoseconds
from scheduler.dispatch.storms import ModelMarks
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE, node_ref, slot_of
from scheduler.protocol.missing import MISSING_REASONS
from scheduler.protocol.records import Assign
from scheduler.selection.columns import Int64s
from tests.dispatch.desk import ASR, NMT, Desk, every, settings

SETTINGS = ModelNotAvailableSettings(
    unavailable_ttl_seconds=60,
    debounce_window_seconds=5,
    node_ratelimit_window_seconds=10,
    node_ratelimit_max=2,
)
FEW_ATTEMPTS = settings(scheduler={"job_timeout": {"failover_max_attempts": 1}})


def at(seconds: float) -> int:
    return nanoseconds(1_000 + seconds)


def a_node() -> Node:
    return Node(0, node_ref(0, 1), "node")


def by_reason(totals: Int64s) -> dict[str, int]:
    counted = dict(zip(MISSING_REASONS, totals.tolist(), strict=True))
    return {reason: total for reason, total in counted.items() if total}


def test_a_report_marks_the_services_for_their_time_to_live() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    assert marks.report(node, 0b11, "1", "error", at(0)) == 2
    assert node.marked == 0b11
    assert marks.expire(at(59.9)) == []
    assert marks.expire(at(60)) == [node, node]
    assert node.marked == 0


def test_repeats_within_the_debounce_window_count_once() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    marks.report(node, 0b1, "1", "error", at(0))
    assert marks.report(node, 0b1, "1", "error", at(4.9)) == 0
    assert marks.expire(at(60)) == [node]


def test_a_report_after_the_debounce_window_renews_the_mark() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    marks.report(node, 0b1, "1", "error", at(0))
    assert marks.report(node, 0b1, "1", "error", at(5)) == 1
    assert marks.expire(at(60)) == []
    assert node.marked == 0b1
    assert marks.expire(at(65)) == [node]


def test_each_version_of_a_service_is_debounced_for_itself() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    assert marks.report(node, 0b1, "1", "error", at(0)) == 1
    assert marks.report(node, 0b1, "2", "error", at(4)) == 1
    assert marks.report(node, 0b1, "2", "error", at(5)) == 0


def test_a_service_is_marked_until_the_last_of_its_versions_is_not() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    marks.report(node, 0b1, "1", "error", at(0))
    marks.report(node, 0b1, "2", "error", at(4))
    assert marks.expire(at(60)) == []
    assert node.marked == 0b1
    assert marks.expire(at(64)) == [node]
    assert node.marked == 0


def test_a_storm_from_one_node_is_cut_to_its_rate() -> None:
    marks, node, other = (
        ModelMarks(SETTINGS, Tables.allocate(2, 1), Counts()),
        a_node(),
        Node(1, node_ref(1, 1), "other"),
    )
    assert marks.report(node, 0b111, "1", "error", at(0)) == 2
    assert marks.report(node, 0b1000, "1", "error", at(9.9)) == 0
    assert marks.report(other, 0b1, "1", "error", at(9.9)) == 1
    assert marks.report(node, 0b1000, "1", "error", at(10)) == 1


def test_a_forgotten_node_leaves_nothing_behind() -> None:
    marks, node = ModelMarks(SETTINGS, Tables.allocate(1, 1), Counts()), a_node()
    marks.report(node, 0b11, "1", "error", at(0))
    marks.forget(node)
    assert node.marked == 0
    assert marks.expire(at(100)) == []
    assert marks.report(node, 0b11, "1", "error", at(1)) == 2


def test_the_named_service_is_marked_and_others_go_on() -> None:
    desk = Desk(FEW_ATTEMPTS)
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE", service=NMT)
    assert desk.place(2) == NO_NODE
    assert desk.place(3, requirement=0b001) == node
    assert desk.counts.models_marked_total == 1


def test_a_report_that_names_no_known_service_marks_all_the_job_needs() -> None:
    for named in ("", "a-model-of-no-service"):
        desk = Desk(FEW_ATTEMPTS)
        node = desk.node("n")
        desk.place(1, requirement=0b011)
        desk.fail(1, node, "MODEL_NOT_AVAILABLE", service=named)
        assert desk.place(2, requirement=0b001) == NO_NODE
        assert desk.place(3, requirement=0b010) == NO_NODE
        assert desk.place(4, requirement=0b100) == node


@pytest.mark.parametrize(("versions", "marked"), [(("1", "1"), 1), (("1", "2"), 2), (("", ""), 1)])
def test_failures_are_told_apart_by_the_version_they_name(
    versions: tuple[str, ...], marked: int
) -> None:
    desk = Desk(FEW_ATTEMPTS)
    node = desk.node("n", capacity=2)
    for number, _ in enumerate(versions):
        desk.place(number)
    for number, version in enumerate(versions):
        desk.fail(number, node, "MODEL_NOT_AVAILABLE", service=ASR, version=version)
    assert desk.counts.models_marked_total == marked


def test_a_lifted_mark_serves_who_waits() -> None:
    config = settings(
        scheduler={
            "model_not_available": {"unavailable_ttl_seconds": 5},
            "job_timeout": {"failover_max_attempts": 1},
        }
    )
    desk = Desk(config)
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE", service=ASR)
    assert desk.tables.nodes.marked[slot_of(node)].any()
    assert desk.place(2) == NO_NODE
    assert every(Assign, desk.tick(4.9)) == []
    assert [record.node for record in every(Assign, desk.tick(0.2))] == [node]
    assert not desk.tables.nodes.marked[slot_of(node)].any()


def test_reports_of_attempts_that_hold_nothing_mark_nothing() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.fail(7, node, "MODEL_NOT_AVAILABLE", service=ASR)
    assert (desk.counts.model_not_available_total, desk.counts.models_marked_total) == (1, 0)
    assert desk.place(1) == node


def test_what_becomes_of_reports_is_counted_by_service() -> None:
    tables = Tables.allocate(1, 1)
    marks, node = ModelMarks(SETTINGS, tables, Counts()), a_node()
    assert marks.report(node, 0b1111, "1", "error", at(0)) == 2
    marks.report(node, 0b0001, "1", "error", at(1))
    assert tables.service_marked_total[:4].tolist() == [1, 1, 0, 0]
    assert tables.service_rate_limited_total[:4].tolist() == [0, 0, 1, 1]


def test_what_becomes_of_reports_is_counted_by_reason() -> None:
    tables = Tables.allocate(1, 1)
    marks, node = ModelMarks(SETTINGS, tables, Counts()), a_node()
    marks.report(node, 0b001, "1", "downloading", at(0))
    marks.report(node, 0b010, "1", "error", at(0))
    marks.report(node, 0b100, "1", "error", at(0))
    marks.report(node, 0b100, "1", "the dog ate it", at(0))
    assert by_reason(tables.marked_by_reason_total) == {"downloading": 1, "error": 1}
    assert by_reason(tables.rate_limited_by_reason_total) == {"error": 1, "other": 1}


def test_the_reason_of_a_mark_is_the_one_that_the_node_gave() -> None:
    desk = Desk(FEW_ATTEMPTS)
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE", service=ASR, reason="loading")
    assert by_reason(desk.tables.marked_by_reason_total) == {"loading": 1}


def test_reports_are_counted_by_the_service_they_name() -> None:
    desk = Desk(FEW_ATTEMPTS)
    node = desk.node("n")
    for job, service in enumerate((NMT, NMT, "unheard of", "")):
        desk.place(job)
        desk.fail(job, node, "MODEL_NOT_AVAILABLE", service=service)
        desk.tick(60.5)
    names = [name.decode() for name in desk.tables.service_ids.tolist()]
    assert desk.tables.service_missing_total[names.index(NMT)] == 2
    assert desk.tables.service_missing_total.sum() == 2
    assert desk.counts.model_not_available_total == 4
