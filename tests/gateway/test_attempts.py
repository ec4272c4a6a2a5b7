"""Which results count: those of attempts that run, once."""

import pytest

from scheduler.gateway import attempts as module
from scheduler.gateway.attempts import Attempts
from scheduler.memory.histogram import bucket_of
from scheduler.protocol.ids import job_key_base, wire_job_id
from scheduler.protocol.records import RunningAttempt
from tests.gateway.world import World

JOB = job_key_base(0, 0) + 1
JOB_ID = wire_job_id("test", JOB)
SENT_NS, READ_NS = 1_000, 2_000


@pytest.fixture
def attempts(world: World) -> Attempts:
    made = Attempts(world.contexts[0])
    made.start(JOB, 2, SENT_NS)
    return made


def test_a_running_attempts_result_counts_once(world: World, attempts: Attempts) -> None:
    assert attempts.take_result(JOB_ID, 2, READ_NS) == JOB
    assert len(attempts) == 0
    assert attempts.take_result(JOB_ID, 2, READ_NS) is None
    assert world.count("results_stale_total") == 1


def test_a_result_of_another_attempt_is_stale_and_ends_nothing(
    world: World, attempts: Attempts
) -> None:
    assert attempts.take_result(JOB_ID, 1, READ_NS) is None
    assert world.count("results_stale_total") == 1
    assert list(attempts) == [RunningAttempt(JOB, 2)]


@pytest.mark.parametrize("job_id", [wire_job_id("test", JOB + 1), "job-other-1", ""])
def test_a_result_of_a_job_never_given_is_spoofed(
    world: World, attempts: Attempts, job_id: str
) -> None:
    assert attempts.take_result(job_id, 2, READ_NS) is None
    assert world.count("results_spoofed_total") == 1


def test_ending_is_harmless_when_repeated(attempts: Attempts) -> None:
    assert not attempts.end(JOB, 1)
    assert attempts.end(JOB, 2)
    assert not attempts.end(JOB, 2)


def test_a_result_of_an_attempt_that_was_refused_is_stale(world: World, attempts: Attempts) -> None:
    attempts.refuse(JOB + 1, 2)
    assert attempts.take_result(wire_job_id("test", JOB + 1), 2, READ_NS) is None
    assert world.count("results_stale_total") == 1


def test_text_counts_while_the_job_runs(attempts: Attempts) -> None:
    assert attempts.take_partial(JOB_ID, READ_NS) == JOB
    attempts.end(JOB, 2)
    assert attempts.take_partial(JOB_ID, READ_NS) is None
    assert attempts.take_partial("nonsense", READ_NS) is None


def test_the_first_text_and_the_result_are_timed(world: World, attempts: Attempts) -> None:
    def recorded(stage: str) -> list[int]:
        counts = world.segment.views.column("gateway_latency", f"{stage}_ns")[0]
        return [bucket for bucket, count in enumerate(counts.tolist()) for _ in range(count)]

    attempts.take_partial(JOB_ID, SENT_NS + 5_000)
    attempts.take_partial(JOB_ID, SENT_NS + 50_000)
    attempts.take_result(JOB_ID, 2, SENT_NS + 500_000)
    assert recorded("first_partial") == [bucket_of(5_000)]
    assert recorded("node") == [bucket_of(500_000)]


def test_so_many_ended_attempts_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECENT_MAX", 2)
    attempts = Attempts(world.contexts[0])
    for job in range(JOB, JOB + 3):
        attempts.start(job, 1, SENT_NS)
        attempts.end(job, 1)
    for job in range(JOB, JOB + 3):
        attempts.take_result(wire_job_id("test", job), 1, READ_NS)
    assert world.count("results_spoofed_total") == 1
    assert world.count("results_stale_total") == 2
