"""When to come back follows from how many wait and how fast jobs have ended lately."""

from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import Failed
from scheduler.selection.capacity import RETRY_AFTER_MS_MAX, RETRY_AFTER_MS_MIN
from tests.dispatch.desk import Desk, only, settings

QUEUE = 10
BOUNDED = settings(limits={"pending_per_class_max": QUEUE, "pending_total_max": QUEUE})


def refusal(desk: Desk, number: int) -> Failed:
    return only(Failed, desk.submit(number, flow=number % 2))


def busy_desk(ended: int) -> Desk:
    """Return a desk with a full queue, on which so many jobs ended within the last second."""
    desk = Desk(BOUNDED)
    node = desk.node("n", capacity=1)
    desk.tick(1.0)
    for number in range(ended):
        desk.place(number)
        desk.finish(number, node)
    desk.place(1_000)
    for number in range(QUEUE):
        assert desk.place(2_000 + number) == NO_NODE
    desk.tick(1.0)
    return desk


def test_a_refused_job_comes_back_when_the_queue_should_be_empty() -> None:
    assert refusal(busy_desk(ended=5), 9_000).retry_after_ms == 1_000 * QUEUE // 5


def test_the_time_is_bounded_at_both_ends() -> None:
    assert refusal(busy_desk(ended=200), 9_000).retry_after_ms == RETRY_AFTER_MS_MIN
    assert refusal(busy_desk(ended=1), 9_000).retry_after_ms == RETRY_AFTER_MS_MAX


def test_refusals_don_t_make_it_look_as_if_jobs_ended() -> None:
    desk = busy_desk(ended=5)
    for number in range(500):
        refusal(desk, 9_000 + 2 * number)
    desk.tick(1.0)
    assert refusal(desk, 99_000).retry_after_ms == RETRY_AFTER_MS_MAX


def test_each_class_shows_what_a_job_refused_now_is_told() -> None:
    desk = busy_desk(ended=5)
    assert desk.tables.class_retry_after_ms[0] == refusal(desk, 9_000).retry_after_ms
    assert desk.tables.class_members[0] == 1


def test_where_no_node_serves_the_class_one_has_to_come_first() -> None:
    desk = Desk(BOUNDED)
    for number in range(QUEUE):
        desk.place(number)
    assert refusal(desk, 9_000).retry_after_ms == RETRY_AFTER_MS_MAX
