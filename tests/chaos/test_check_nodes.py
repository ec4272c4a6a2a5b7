"""Hand-made histories: each broken promise is found, and what is allowed is not."""

import pytest

from tests.chaos.check_nodes import Given, NodeTotals, check_nodes
from tests.chaos.history import AGAIN, LATE, OK, UNKNOWN, WRONG, Event, What
from tests.chaos.violation import Violation


class Story:
    """What one node saw."""

    def __init__(self, node_id: str = "chaos-03") -> None:
        self.node_id = node_id
        self.conn = 1
        self.events: list[Event] = []

    def add(
        self,
        what: What,
        job: str = "",
        attempt: int = 0,
        *,
        text: str = "",
        how: str = "",
        size: int = 0,
    ) -> "Story":
        self.events.append(
            Event(
                len(self.events),
                self.node_id,
                what,
                self.conn,
                "sess-A" if what == "assigned" else "",
                3 if what == "assigned" else -1,
                job,
                attempt,
                text,
                how,
                size,
            )
        )
        return self

    def ready(self, capacity: int = 2, claims: str = "") -> "Story":
        return self.add("joined", size=capacity, text=claims).add("status", how="ready")

    def given(self, *jobs: str, attempt: int = 1) -> "Story":
        for job in jobs:
            self.add("assigned", job, attempt, text="sess-A 3 nonce")
        return self

    def answered(self, job: str, how: str = OK, attempt: int = 1) -> "Story":
        return self.add("answered", job, attempt, how=how)


def found(*stories: Story) -> list[Violation]:
    given: Given = {}
    totals = NodeTotals()
    return [v for story in stories for v in check_nodes(story.events, given, totals)]


def promises(*stories: Story) -> list[str]:
    return [violation.promise for violation in found(*stories)]


def test_a_good_life() -> None:
    story = Story().ready().given("a", "b").answered("a").given("c").answered("b").answered("c")
    totals = NodeTotals()
    assert not [*check_nodes(story.events, {}, totals)]
    assert (totals.assigned, totals.answered) == (3, 3)


def test_more_jobs_than_slots() -> None:
    [violation] = found(Story().ready(2).given("a", "b", "c"))
    assert violation.promise == "over capacity"
    assert violation.job == "c"


@pytest.mark.parametrize("how", [WRONG, AGAIN, LATE, UNKNOWN])
def test_answers_that_do_not_count_make_no_room(how: str) -> None:
    story = Story().ready(1).given("a").answered("a", how).given("b")
    assert promises(story) == ["over capacity"]


def test_an_answer_to_another_attempt_makes_no_room() -> None:
    assert promises(Story().ready(1).given("a").answered("a", attempt=2).given("b")) == [
        "over capacity"
    ]


def test_failures_and_cancelled_jobs_make_room() -> None:
    story = Story().ready(1).given("a").answered("a", "INTERNAL_ERROR").given("b")
    assert not promises(story.add("cancelled", "b").given("c"))


def test_what_a_node_goes_on_with_takes_its_slots() -> None:
    assert promises(Story().ready(2, "a.1 b.2").given("c")) == ["over capacity"]
    assert not promises(Story().ready(2, "a.1 b.2").add("cancelled", "b").given("c"))


def test_a_new_connection_starts_without_jobs() -> None:
    story = Story().ready(1).given("a").add("closed", how="cut")
    story.conn = 2
    assert not promises(story.ready(1).given("b"))


@pytest.mark.parametrize("status", ["draining", "degraded", "offline", "registering"])
def test_jobs_while_it_is_not_ready(status: str) -> None:
    assert promises(Story().ready().add("status", how=status).given("a")) == ["not ready"]


def test_jobs_before_it_was_ever_ready() -> None:
    assert promises(Story().add("joined", size=2).given("a")) == ["not ready"]


def test_ready_ends_with_the_connection() -> None:
    story = Story().ready().add("closed", how="1006")
    story.conn = 2
    assert promises(story.add("joined", size=2).given("a")) == ["not ready"]


def test_one_attempt_for_two_nodes() -> None:
    [violation] = found(Story("chaos-03").ready().given("a"), Story("chaos-04").ready().given("a"))
    assert violation.promise == "attempt twice"
    assert "chaos-03" in violation.detail


def test_one_attempt_twice_for_one_node() -> None:
    assert promises(Story().ready().given("a").answered("a").given("a")) == ["attempt twice"]


def test_two_attempts_at_once() -> None:
    assert promises(Story().ready().given("a").given("a", attempt=2)) == ["attempt twice"]


def test_attempts_one_after_the_other() -> None:
    first = Story("chaos-03").ready().given("a").add("cancelled", "a").given("a", attempt=3)
    assert not promises(first, Story("chaos-04").ready().given("a", attempt=2))


@pytest.mark.parametrize("text", ["sess-B 3 nonce", "sess-A 4 nonce", "noise"])
def test_somebody_elses_speech(text: str) -> None:
    assert promises(Story().ready().add("assigned", "a", 1, text=text)) == ["cross-delivered"]
