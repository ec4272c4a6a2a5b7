"""Hand-made histories: each broken promise is found, and what is allowed is not."""

import pytest

from tests.chaos.check_sessions import SessionTotals, check_sessions
from tests.chaos.history import FINISHED, Event, Tag, What
from tests.chaos.violation import Violation

SESSION = "sess-A"


class Story:
    """What one session saw."""

    def __init__(self, who: str = "session 1", session: str = SESSION) -> None:
        self.who = who
        self.session = session
        self.conn = 1
        self.events: list[Event] = []

    def add(self, what: What, index: int = -1, text: str = "", how: str = "") -> "Story":
        at_ns = len(self.events)
        job = f"job-{index}" if index >= 0 else ""
        self.events.append(
            Event(at_ns, self.who, what, self.conn, self.session, index, job, text=text, how=how)
        )
        return self

    def tag(self, index: int) -> str:
        return str(Tag(self.session, index, f"nonce{index}"))

    def said(self, *indices: int) -> "Story":
        for index in indices:
            self.add("sent", index, self.tag(index))
        return self

    def heard(self, *indices: int) -> "Story":
        for index in indices:
            self.add("result", index, self.tag(index))
        return self

    def closed(self, how: str = FINISHED) -> "Story":
        return self.add("closed", how=how)


def found(*stories: Story) -> list[Violation]:
    events = [event for story in stories for event in story.events]
    return [*check_sessions(events, SessionTotals())]


def promises(*stories: Story) -> list[str]:
    return [violation.promise for violation in found(*stories)]


def test_a_good_conversation() -> None:
    story = Story().add("opened").said(0, 1).add("dispatched", 0).add("dispatched", 1).heard(0, 1)
    totals = SessionTotals()
    assert not [*check_sessions(story.closed().events, totals)]
    assert (totals.conversations, totals.finished, totals.utterances) == (1, 1, 2)
    assert (totals.results, totals.failures, totals.cut_off) == (2, 0, 0)


def test_an_utterance_without_a_reply_is_lost() -> None:
    story = Story().said(0, 1, 2).heard(0).add("error", 2, how="JOB_TIMEOUT").closed()
    [violation] = found(story)
    assert violation.promise == "lost"
    assert violation.session == SESSION
    assert "utterance 1 " in violation.detail


def test_one_that_is_open_when_the_history_ends_is_lost() -> None:
    assert promises(Story().said(0)) == ["lost"]


@pytest.mark.parametrize("how", ["cut", "left", "1006", "1012", "gave up"])
def test_nothing_is_owed_to_those_whose_connection_ended(how: str) -> None:
    totals = SessionTotals()
    assert not [*check_sessions(Story().said(0).closed(how).events, totals)]
    assert totals.cut_off == 1


def test_a_conversation_ends_with_the_next_one() -> None:
    story = Story().said(0).closed()
    story.conn = 2
    story.said(0).heard(0).closed()
    assert promises(story) == ["lost"]


@pytest.mark.parametrize("how", [FINISHED, "cut"])
def test_two_results_are_one_too_many(how: str) -> None:
    story = Story().said(0, 1).heard(0).heard(1).closed(how)
    story.events.insert(-1, story.events[2])
    assert "duplicated" in promises(story)


def test_an_error_after_a_result_is_one_too_many() -> None:
    assert promises(Story().said(0).heard(0).add("error", 0, how="JOB_TIMEOUT").closed()) == [
        "duplicated"
    ]


def test_a_job_is_dispatched_once() -> None:
    story = Story().said(0).add("dispatched", 0).add("dispatched", 0).heard(0).closed()
    assert promises(story) == ["duplicated"]


def test_a_repeat_makes_no_second_result() -> None:
    story = Story().said(0).add("repeated", 0).heard(0).heard(0).closed()
    assert "duplicated" in promises(story)
    assert not promises(Story().said(0).add("repeated", 0).heard(0).closed())


def test_a_repeat_of_a_refused_request_is_a_request_of_its_own() -> None:
    story = Story().said(0).add("repeated", 0).add("error", 0, how="SERVER_BUSY").heard(0)
    assert not promises(story.closed())
    twice = Story().said(0).add("error", 0, how="SERVER_BUSY").add("error", 0, how="SERVER_BUSY")
    assert promises(twice.closed()) == ["duplicated"]


def test_somebody_elses_result() -> None:
    story = Story().said(0).add("result", 0, Story(session="sess-B").tag(0)).closed()
    [violation] = found(story)
    assert violation.promise == "cross-delivered"
    assert "somebody else's" in violation.detail


@pytest.mark.parametrize("text", [f"{SESSION} 1 nonce1", f"{SESSION} 0 other", "late chaos-03"])
def test_a_result_of_another_utterance_or_of_none(text: str) -> None:
    assert promises(Story().said(0).add("result", 0, text).closed()) == ["cross-delivered"]


def test_a_result_for_what_was_never_said() -> None:
    assert promises(Story().said(0).heard(0).add("result", 5, "x").closed()) == ["cross-delivered"]


def test_results_in_another_order() -> None:
    assert promises(Story().said(0, 1).heard(1).heard(0).closed()) == ["out of order"]


def test_failed_utterances_hold_no_order() -> None:
    story = Story().said(0, 1).heard(1).add("error", 0, how="JOB_TIMEOUT").closed()
    assert not promises(story)


def test_errors_of_no_utterance_are_shown() -> None:
    assert promises(Story().add("error", how="INVALID_SESSION").closed()) == ["closed"]
    assert not promises(Story().add("error", how="SERVER_SHUTDOWN").closed("1012"))


def test_sessions_are_apart() -> None:
    one, other = Story().said(0), Story("session 2", "sess-B").said(0)
    interleaved = [*one.events, *other.events, *Story().heard(0).events, *Story().closed().events]
    interleaved += Story("session 2", "sess-B").heard(0).closed().events
    assert not [*check_sessions(interleaved, SessionTotals())]
