import pytest

from scheduler.dispatch.flow import ELSEWHERE
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import (
    TIMED_OUT,
    ArenaRef,
    Assign,
    CancelAttempt,
    CancelJob,
    Deliver,
    Discard,
    Dispatched,
    Failed,
    NodeAccepted,
    Partial,
    PartialText,
    Result,
    Submit,
)
from tests.dispatch.desk import (
    WHOLE,
    Desk,
    Said,
    every,
    job,
    only,
    registration,
    running,
    settings,
)

AUDIO = ArenaRef(0, 64, 1000, 7)
TEXT = ArenaRef(1, 0, 100, 8)


def timeouts(**changes: float) -> Desk:
    attempt = changes.pop("attempt", 30)
    return Desk(settings(scheduler={"job_timeout_seconds": attempt, "job_timeout": changes}))


# --- the usual way ---------------------------------------------------------------------------


def test_a_job_goes_to_the_nodes_gateway_and_its_owner_is_told() -> None:
    desk = Desk()
    node = desk.node("n", gateway=1)
    assert desk.submit(1, gateway=0, payload=AUDIO) == [
        (0, Dispatched(job(1), 1, node)),
        (1, Assign(job(1), 1, node, AUDIO)),
    ]


def test_within_one_gateway_no_payload_is_named_and_nobody_else_told() -> None:
    desk = Desk()
    node = desk.node("n", gateway=0)
    assert desk.submit(1, payload=AUDIO) == [(0, Assign(job(1), 1, node, None))]


def test_a_result_is_delivered_where_it_lies_and_frees_the_slot() -> None:
    desk = Desk()
    node = desk.node("n", gateway=1)
    desk.submit(1)
    assert desk.in_flight(node) == 1
    said = desk.say(1, Result(job(1), 1, node, TEXT))
    assert said == [(0, Deliver(job(1), 1, node, TEXT))]
    assert desk.in_flight(node) == 0
    assert desk.counts.completed_total == 1


def test_a_job_that_is_submitted_twice_runs_once() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.submit(1)
    assert desk.submit(1) == []
    assert desk.in_flight(node) == 1
    assert desk.counts.submitted_total == 1


def test_text_on_the_way_passes_from_the_jobs_node_alone() -> None:
    desk = Desk()
    node, other = desk.node("n", gateway=1), desk.node("other", gateway=1)
    assert desk.place(1) == node
    assert desk.say(1, Partial(job(1), node, b"{}")) == [(0, PartialText(job(1), b"{}"))]
    assert desk.say(1, Partial(job(1), other, b"{}")) == []
    assert desk.say(1, Partial(job(2), node, b"{}")) == []


# --- stale results ---------------------------------------------------------------------------


def test_stale_results_free_nothing_and_are_discarded() -> None:
    desk = Desk()
    node, other = desk.node("n"), desk.node("other", gateway=1)
    assert desk.place(1) == node
    for gateway, stale in (
        (0, Result(job(1), 2, node)),
        (1, Result(job(1), 1, other)),
        (0, Result(job(99), 1, node)),
    ):
        assert desk.say(gateway, stale) == [
            (gateway, Discard(stale.job, stale.attempt, stale.node))
        ]
    assert desk.in_flight(node) == 1
    assert desk.counts.stale_results_total == 3


def test_a_result_counts_once() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    desk.place(2)
    desk.finish(1, node)
    assert desk.finish(1, node) == [(0, Discard(job(1), 1, node))]
    assert desk.in_flight(node) == 1


def test_stale_failures_change_nothing() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    assert desk.fail(1, node, "NMT_TIMEOUT", attempt=2) == []
    assert desk.fail(2, node, "NMT_TIMEOUT") == []
    assert desk.in_flight(node) == 1
    assert desk.counts.stale_results_total == 2


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["NMT_TIMEOUT", "TTS_TIMEOUT", "INTERNAL_ERROR", "OWN_CODE"])
def test_an_error_that_speaks_of_the_job_is_final(code: str) -> None:
    desk = Desk()
    node = desk.node("n")
    desk.node("other")
    desk.place(1)
    failed = only(Failed, desk.fail(1, node, code))
    assert (failed.job, failed.code, failed.error) == (job(1), code, b'{"code":"mine"}')
    assert desk.in_flight(node) == 0


@pytest.mark.parametrize("code", sorted(ELSEWHERE))
def test_an_error_that_speaks_of_the_node_sends_the_job_elsewhere(code: str) -> None:
    desk = Desk()
    node, other = desk.node("n"), desk.node("other", gateway=1)
    assert desk.place(1) == node
    said = desk.fail(1, node, code)
    assert only(Assign, said) == Assign(job(1), 2, other, None)
    # The owner keeps track of attempts, for a dispatcher that may have to take over.
    assert only(Dispatched, said) == Dispatched(job(1), 2, other)
    assert (desk.in_flight(node), desk.in_flight(other)) == (0, 1)
    assert desk.counts.failovers_total == 1


def test_the_last_nodes_error_is_final_when_no_other_node_is_left() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    failed = only(Failed, desk.fail(1, node, "NODE_OVERLOADED"))
    assert (failed.code, failed.error) == ("NODE_OVERLOADED", b'{"code":"mine"}')


def test_a_job_waits_for_another_node_that_is_merely_busy() -> None:
    desk = Desk()
    node, other = desk.node("n"), desk.node("other", capacity=1)
    placed = {number: desk.place(number) for number in (1, 2)}
    assert placed == {1: node, 2: other}
    assert desk.fail(1, node, "NODE_OVERLOADED") == []
    assert only(Assign, desk.finish(2, other)) == Assign(job(1), 2, other, None)


def test_attempts_are_limited() -> None:
    desk = timeouts(failover_max_attempts=2)
    for name in ("a", "b", "c"):
        desk.node(name)
    first = desk.place(1)
    second = only(Assign, desk.fail(1, first, "NODE_OVERLOADED")).node
    assert second != first
    said = desk.fail(1, second, "MODEL_CORRUPTED", attempt=2)
    assert only(Failed, said).code == "MODEL_CORRUPTED"


def test_a_paired_job_has_nowhere_else_to_go() -> None:
    desk = Desk()
    mine = desk.node("mine", accept_public=False)
    desk.node("other")
    desk.place(1, paired=mine)
    assert only(Failed, desk.fail(1, mine, "NODE_OVERLOADED")).code == "NODE_OVERLOADED"


# --- time ------------------------------------------------------------------------------------


def test_an_attempt_over_its_time_is_cancelled_and_tried_elsewhere() -> None:
    desk = timeouts(attempt=5)
    node, other = desk.node("n"), desk.node("other")
    assert desk.place(1) == node
    assert desk.tick(4.9) == []
    said = desk.tick(0.1)
    assert only(CancelAttempt, said) == CancelAttempt(job(1), 1, node, "timeout")
    assert only(Assign, said) == Assign(job(1), 2, other, None)
    assert desk.counts.attempts_timed_out_total == 1
    assert desk.finish(1, node) == [(0, Discard(job(1), 1, node))]


def test_the_last_attempt_over_its_time_fails_the_job() -> None:
    desk = timeouts(attempt=5)
    desk.node("n")
    desk.place(1)
    failed = only(Failed, desk.tick(5.0))
    assert (failed.code, failed.message) == (ErrorCode.JOB_TIMEOUT, "no result within 5 s")


def test_the_nodes_gateway_hears_of_a_timeout_whether_or_not_the_node_does() -> None:
    config = settings(scheduler={"job_timeout": {"send_cancel": False}})
    desk = Desk(config)
    node = desk.node("n")
    desk.place(1)
    desk.usage(node)
    assert only(CancelAttempt, desk.tick(30.0)).reason == TIMED_OUT
    assert desk.in_flight(node) == 0


def test_each_attempt_has_its_own_deadline() -> None:
    desk = timeouts(attempt=5)
    node = desk.node("n", capacity=9)
    desk.place(1)
    desk.tick(2.0)
    desk.place(2)
    assert only(Failed, desk.tick(3.0)).job == job(1)
    assert desk.tick(1.9) == []
    assert only(Failed, desk.tick(0.1)).job == job(2)
    assert desk.in_flight(node) == 0


def test_thousands_of_deadlines_at_once_are_spread_over_turns() -> None:
    desk = timeouts(attempt=5, pending_timeout_seconds=5)
    desk.node("n", capacity=300)
    cold = desk.node("cold", healthy=False)
    for number in range(300):
        desk.submit(number)
        desk.submit(300 + number, paired=cold)
    desk.now_ns += 5 * 10**9
    turns = []
    behind = []
    for _ in range(4):
        turns.append(len(every(Failed, desk.tick())))
        behind.append(desk.core.is_behind)
    assert turns == [256, 256, 88, 0]
    assert behind == [True, True, False, False]


def test_a_job_whose_time_is_over_goes_to_no_node() -> None:
    desk = timeouts(pending_timeout_seconds=5)
    node = desk.node("n", capacity=1)
    for number in (1, 2, 3):
        desk.submit(number)
    desk.now_ns += 4 * 10**9
    desk.submit(4)
    desk.now_ns += 10**9
    said = desk.finish(1, node)
    assert [record.job for record in every(Failed, said)] == [job(2), job(3)]
    assert only(Assign, said).job == job(4)


def test_an_attempt_and_a_job_that_waits_may_fall_due_at_once() -> None:
    desk = timeouts(attempt=5, pending_timeout_seconds=5)
    desk.node("n", capacity=1)
    desk.submit(1)
    desk.submit(2)
    said = desk.tick(5.0)
    assert {record.job for record in every(Failed, said)} == {job(1), job(2)}
    assert every(Assign, said) == []


def test_a_node_waits_its_turn_among_jobs_whose_time_is_over() -> None:
    desk = timeouts(attempt=60, pending_timeout_seconds=5)
    node = desk.node("n", capacity=1)
    for number in range(600):
        desk.submit(number)
    desk.now_ns += 4 * 10**9
    desk.submit(600)
    desk.now_ns += 10**9
    said = desk.finish(0, node)
    assert (len(every(Failed, said)), every(Assign, said)) == (256, [])
    assert desk.core.is_behind
    failed, assigned = 0, []
    for _ in range(2):
        said = desk.tick()
        failed += len(every(Failed, said))
        assigned += every(Assign, said)
    assert failed == 599 - 256
    assert [record.job for record in assigned] == [job(600)]


def test_a_job_that_finds_no_node_in_time_fails() -> None:
    desk = timeouts(pending_timeout_seconds=10)
    desk.submit(1)
    assert desk.tick(9.9) == []
    failed = only(Failed, desk.tick(0.1))
    assert failed.code == ErrorCode.NO_AVAILABLE_NODE
    assert failed.retry_after_ms >= 100
    assert desk.counts.pending_timed_out_total == 1


def test_a_failed_over_job_that_finds_no_other_node_tells_why_it_left_the_first() -> None:
    desk = timeouts(pending_timeout_seconds=10)
    node = desk.node("n", healthy=True)
    desk.place(1)
    desk.lose(node)
    failed = only(Failed, desk.tick(10.0))
    assert failed.code == ErrorCode.NODE_UNAVAILABLE


# --- waiting ---------------------------------------------------------------------------------


def test_a_freed_slot_serves_the_longest_waiting_of_all_classes() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    desk.place(1)
    desk.submit(2, requirement=0b001)
    desk.submit(3, requirement=WHOLE)
    desk.submit(4, requirement=0b001)
    served = [only(Assign, desk.finish(number, node)).job for number in (1, 2, 3)]
    assert served == [job(2), job(3), job(4)]


def test_failed_over_jobs_are_served_before_those_that_wait_longer() -> None:
    desk = Desk()
    lost, kept = desk.node("lost", capacity=1), desk.node("kept", capacity=1)
    assert (desk.place(1), desk.place(2)) == (lost, kept)
    desk.submit(3)
    desk.lose(lost)
    assert only(Assign, desk.finish(2, kept)).job == job(1)
    assert only(Assign, desk.finish(1, kept, attempt=2)).job == job(3)


def test_a_free_node_takes_a_job_that_waits_behind_many_that_failed_there() -> None:
    desk = Desk(settings(scheduler={"outlier_ejection": {"consecutive_failures": 0}}))
    bad, other, third = desk.node("bad", capacity=9), *(desk.node(n, capacity=1) for n in "ab")
    placed = {number: desk.place(number) for number in range(11)}
    desk.usage(bad, external_jobs=9)
    desk.tick(0.2)
    for number, node in placed.items():
        if node == bad:
            desk.fail(number, bad, "NODE_OVERLOADED")
    last = next(number for number, node in placed.items() if node == third)
    desk.fail(last, third, "NODE_OVERLOADED")
    assert (desk.in_flight(bad), desk.in_flight(other), desk.in_flight(third)) == (0, 1, 1)
    desk.usage(bad, external_jobs=0)
    assigned = only(Assign, desk.tick(0.2))
    assert (assigned.job, assigned.node) == (job(last), bad)


def test_a_lost_node_may_run_its_jobs_again_when_it_is_back() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    desk.lose(node)
    desk.node("n")
    assert desk.in_flight(node) == 1
    assert len(every(Deliver, desk.finish(1, node, attempt=2))) == 1


def test_a_full_class_is_busy_and_says_when_to_come_back() -> None:
    desk = Desk(settings(limits={"pending_per_class_max": 2}))
    desk.submit(1)
    desk.submit(2)
    failed = only(Failed, desk.submit(3))
    assert failed.code == ErrorCode.SERVER_BUSY
    assert 100 <= failed.retry_after_ms <= 5_000
    assert desk.submit(4, requirement=0b001) == []
    assert desk.counts.refused_queue_full_total == 1
    assert desk.counts.queued == 3


def test_a_full_queue_is_busy() -> None:
    desk = Desk(settings(limits={"pending_total_max": 2}))
    desk.submit(1)
    desk.submit(2, requirement=0b001)
    assert only(Failed, desk.submit(3, requirement=0b010)).code == ErrorCode.SERVER_BUSY


def test_the_wait_that_is_told_follows_how_fast_jobs_end() -> None:
    desk = Desk(settings(limits={"pending_per_class_max": 30}))
    node = desk.node("n", capacity=10)
    for number in range(40):
        desk.submit(number)
    assert only(Failed, desk.submit(99)).retry_after_ms == 5_000  # nothing has ended yet
    desk.tick(1.0)
    for number in range(20):
        desk.finish(number, node)
    desk.tick(1.0)
    for number in range(100, 120):
        desk.submit(number)
    assert only(Failed, desk.submit(199)).retry_after_ms == 1000 * 30 // 20


def test_a_paired_job_waits_for_its_node() -> None:
    desk = Desk()
    mine = desk.node("mine", accept_public=False, capacity=1)
    desk.node("idle")
    desk.place(1, paired=mine)
    assert desk.submit(2, paired=mine) == []
    assert only(Assign, desk.finish(1, mine)).job == job(2)


def test_a_job_paired_with_a_node_that_left_fails_at_once() -> None:
    desk = Desk()
    mine = desk.node("mine", accept_public=False)
    desk.lose(mine)
    desk.tick(299.0)
    assert desk.submit(1, paired=mine) == []
    failed = only(Failed, desk.tick(1.5))
    assert (failed.job, failed.code) == (job(1), ErrorCode.NODE_UNAVAILABLE)
    assert only(Failed, desk.submit(2, paired=mine)).code == ErrorCode.NODE_UNAVAILABLE


# --- giving up -------------------------------------------------------------------------------


def test_a_cancelled_job_frees_its_slot_and_its_node_is_told() -> None:
    desk = Desk()
    node = desk.node("n", gateway=1, capacity=1)
    desk.submit(1)
    desk.submit(2)
    said = desk.say(0, CancelJob(job(1), "closed"))
    assert (1, CancelAttempt(job(1), 1, node, "closed")) in said
    assert only(Assign, said).job == job(2)
    assert every(Failed, said) == []
    assert desk.say(1, Result(job(1), 1, node)) == [(1, Discard(job(1), 1, node))]
    assert desk.counts.cancelled_total == 1


def test_a_cancelled_job_waits_no_longer() -> None:
    desk = Desk()
    desk.submit(1)
    assert desk.say(0, CancelJob(job(1), "closed")) == []
    assert desk.counts.queued == 0
    desk.node("n")
    assert desk.tick(60.0) != []  # the node falls silent; of the job nothing is heard
    assert desk.counts.failed_total == 0


def test_cancelling_what_is_over_changes_nothing() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    desk.finish(1, node)
    assert desk.say(0, CancelJob(job(1), "closed")) == []
    assert desk.counts.cancelled_total == 0


def test_one_job_after_another_leaves_nothing_behind() -> None:
    desk = Desk()
    node = desk.node("n")
    for number in range(100):
        desk.say(0, Submit(job(number), WHOLE))
        desk.finish(number, node)
    flow = desk.core._flow
    assert not flow._jobs
    assert not flow._running
    assert desk.place(999) != NO_NODE


def back(desk: Desk, *attempts: tuple[int, int], node_id: str = "n") -> Said:
    """Let a node register again that says what it still works on."""
    return desk.say(0, registration(node_id, running=running(*attempts)))


def test_a_node_that_is_back_keeps_what_nobody_else_has_begun() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    desk.lose(node)
    said = back(desk, (job(1), 1))
    assert said == [(0, NodeAccepted(1, node, running((job(1), 1))))]
    assert (desk.in_flight(node), desk.counts.reclaimed_total) == (1, 1)
    assert desk.counts.queued == 0
    assert only(Deliver, desk.finish(1, node)).attempt == 1


def test_a_node_that_is_back_too_late_is_told_to_stop() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    other = desk.node("other")
    desk.lose(node)
    assert desk.in_flight(other) == 1
    assert back(desk, (job(1), 1)) == [(0, NodeAccepted(1, node))]
    assert desk.counts.reclaimed_total == 0


@pytest.mark.parametrize(
    ("number", "attempt"), [(1, 2), (2, 1), (9, 1)], ids=["attempt", "job of another", "no job"]
)
def test_a_node_keeps_only_what_it_had(number: int, attempt: int) -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    desk.place(1)
    other = desk.node("other", capacity=1)
    desk.place(2)
    desk.lose(node)
    desk.lose(other)
    assert back(desk, (job(number), attempt)) == [(0, NodeAccepted(1, node))]
    assert desk.in_flight(node) == 0


def test_a_node_keeps_no_more_than_it_has_slots() -> None:
    desk = Desk()
    node = desk.node("n", capacity=2)
    desk.place(1)
    desk.place(2)
    desk.lose(node)
    record = registration("n", capacity=1, running=running((job(1), 1), (job(2), 1)))
    assert desk.say(0, record) == [(0, NodeAccepted(1, node, running((job(1), 1))))]
    assert desk.in_flight(node) == 1


def test_a_result_of_an_attempt_that_was_kept_counts_once() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    desk.lose(node)
    back(desk, (job(1), 1))
    desk.finish(1, node)
    assert only(Discard, desk.finish(1, node)).attempt == 1
    assert desk.counts.completed_total == 1
