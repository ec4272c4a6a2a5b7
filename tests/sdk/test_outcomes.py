import asyncio
from typing import Any

import pytest

from scheduler.protocol.session import ErrorMessage, TranslationResult, UiEvent
from scheduler.sdk.errors import ConnectionLost, SessionError
from scheduler.sdk.outcomes import OUTCOMES_MAX, Outcomes
from tests.sdk.scripted_peer import run_async

WAIT_SECONDS = 10


def failed_event(index: int, code: str = "JOB_TIMEOUT") -> UiEvent:
    return UiEvent(
        "t", "sess", f"job-{index}", index, "ERROR", "error", error_code=code, hint="Try again."
    )


def error(message: str, **details: Any) -> ErrorMessage:
    return ErrorMessage("JOB_TIMEOUT", message, details)


async def failure_of(outcomes: Outcomes, index: int) -> SessionError:
    with pytest.raises(SessionError) as raised:
        await outcomes.wait(index, WAIT_SECONDS)
    return raised.value


@run_async
async def test_each_failure_gets_its_own_message() -> None:
    outcomes = Outcomes()
    outcomes.note(failed_event(0))
    outcomes.note(failed_event(1))
    outcomes.note(error("one", utterance_index=1))
    outcomes.note(error("zero", utterance_index=0))
    assert (await failure_of(outcomes, 0)).message == "zero"
    assert (await failure_of(outcomes, 1)).message == "one"


@run_async
async def test_an_error_that_names_no_utterance_belongs_to_the_one_that_fails() -> None:
    outcomes = Outcomes()
    outcomes.note(error("of the session"))
    outcomes.note(failed_event(4))
    outcomes.note(error("four"))
    assert (await failure_of(outcomes, 4)).message == "four"


@run_async
async def test_a_failure_without_an_error_message_shows_its_hint() -> None:
    outcomes = Outcomes()
    outcomes.note(failed_event(0, "NMT_TIMEOUT"))
    failure = await failure_of(outcomes, 0)
    assert (failure.code, failure.message, failure.hint) == (
        "NMT_TIMEOUT",
        "Try again.",
        "Try again.",
    )


@run_async
async def test_a_refused_utterance_fails_with_the_hint_of_its_code() -> None:
    outcomes = Outcomes()
    outcomes.note(error("late", utterance_index=2))
    assert (await failure_of(outcomes, 2)).hint.startswith("The translation took too long")


@run_async
async def test_the_first_outcome_counts() -> None:
    outcomes = Outcomes()
    outcomes.note(TranslationResult("sess", 0, "job-0", "t", text_asr="first"))
    outcomes.note(TranslationResult("sess", 0, "job-0", "t", text_asr="second"))
    assert (await outcomes.wait(0, WAIT_SECONDS)).text_asr == "first"


@run_async
async def test_a_waiter_that_gives_up_leaves_the_others_waiting() -> None:
    outcomes = Outcomes()
    patient = asyncio.create_task(outcomes.wait(0, WAIT_SECONDS))
    with pytest.raises(TimeoutError, match="utterance 0 has no outcome"):
        await outcomes.wait(0, 0.001)
    outcomes.note(TranslationResult("sess", 0, "job-0", "t"))
    assert (await patient).job_id == "job-0"


@run_async
async def test_a_lost_session_ends_all_waits_but_keeps_what_came() -> None:
    outcomes = Outcomes()
    outcomes.note(TranslationResult("sess", 0, "job-0", "t"))
    outcomes.note(failed_event(1))
    waiting = asyncio.create_task(outcomes.wait(2, WAIT_SECONDS))
    await asyncio.sleep(0)
    outcomes.lose(ConnectionLost("gone"))
    assert (await outcomes.wait(0, WAIT_SECONDS)).job_id == "job-0"
    assert (await failure_of(outcomes, 1)).code == "JOB_TIMEOUT"
    for lost in (waiting, outcomes.wait(3, WAIT_SECONDS)):
        with pytest.raises(ConnectionLost):
            await lost


@run_async
async def test_old_outcomes_are_forgotten() -> None:
    outcomes = Outcomes()
    for index in range(3 * OUTCOMES_MAX):
        outcomes.note(TranslationResult("sess", index, f"job-{index}", "t"))
    assert len(outcomes._futures) == OUTCOMES_MAX
    assert (await outcomes.wait(3 * OUTCOMES_MAX - 1, WAIT_SECONDS)).text_asr is None
