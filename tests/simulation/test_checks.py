import pytest

from scheduler.simulation.checks import History, InvariantViolation, Outcomes, check


def test_a_broken_promise_names_itself_and_the_facts() -> None:
    check(True, "all is well")
    with pytest.raises(InvariantViolation, match=r"^two is one: 2, 'one'$"):
        check(False, "two is one", 2, "one")
    assert issubclass(InvariantViolation, AssertionError)


def test_history_keeps_the_last_events() -> None:
    history = History()
    for number in range(200):
        history.note(number * 1_000_000, "event", number)
    lines = str(history).splitlines()
    assert len(lines) == 60
    assert lines[-1].split() == ["199.000", "ms", "event", "199"]


def test_a_job_ends_once() -> None:
    outcomes = Outcomes()
    outcomes.accept(1)
    outcomes.end(1, "completed")
    with pytest.raises(InvariantViolation, match="a job ends once"):
        outcomes.end(1, "failed")
    with pytest.raises(InvariantViolation, match="never used twice"):
        outcomes.accept(1)


def test_a_terminal_record_too_many_is_forgiven_after_a_cancel_alone() -> None:
    outcomes = Outcomes()
    outcomes.end(1, "cancelled")
    outcomes.surprise(1, "late")
    outcomes.end(2, "completed")
    for job in (2, 3):
        with pytest.raises(InvariantViolation, match="just given up"):
            outcomes.surprise(job, "again")


def test_outcomes_are_counted_by_their_kind() -> None:
    outcomes = Outcomes()
    for job, how in enumerate(("completed", "failed", "completed")):
        outcomes.accept(job)
        outcomes.end(job, how)
    assert outcomes.by_end() == {"completed": 2, "failed": 1}
    assert outcomes.accepted == outcomes.ended == 3
    assert (outcomes.how(1), outcomes.how(9)) == ("failed", None)
