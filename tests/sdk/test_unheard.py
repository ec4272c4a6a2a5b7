from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from scheduler.protocol.session import (
    AsrPartial,
    AudioChunk,
    ErrorMessage,
    ServerHeartbeat,
    SessionInitAck,
    TranslationResult,
    UiEvent,
    Utterance,
)
from scheduler.sdk import unheard as module
from scheduler.sdk.messages import SessionEvent
from scheduler.sdk.unheard import Unheard


def chunk(seq: int, *, final: bool = False, payload: str = "AAAA") -> AudioChunk:
    return AudioChunk(seq, final, "sess-1", None if final else payload)


def ack(received: int | None = None, cut: int | None = None) -> SessionInitAck:
    return SessionInitAck("sess-1", None, "", "t", received_seq=received, cut_seq=cut)


def utterance(index: int) -> Utterance:
    return Utterance("sess-1", index, True, "en", "es", Raw(b'"AAAA"'), "pcm16", 16_000)


def result(index: int) -> TranslationResult:
    return TranslationResult("sess-1", index, f"job-{index}", "t")


def error(details: Any = UNSET) -> ErrorMessage:
    return ErrorMessage("SERVER_BUSY", "busy", details)


def said(*messages: Utterance | AudioChunk) -> Unheard:
    unheard = Unheard()
    for message in messages:
        unheard.say(message)
    return unheard


def seqs(chunks: list[AudioChunk]) -> list[int]:
    return [one.seq for one in chunks]


# --- utterances and replies ----------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        UiEvent("t", "sess-1", "job-1", 1, "DISPATCHED", "ok"),
        AsrPartial("sess-1", 1, "job-1", "hel", False, "t"),
        result(1),
        error({"utterance_index": 1}),
    ],
)
def test_an_utterance_of_which_something_was_heard_has_arrived(event: SessionEvent) -> None:
    unheard = said(utterance(0), utterance(1))
    unheard.hear(event)
    assert list(unheard.utterances) == [0]


@pytest.mark.parametrize("event", [ServerHeartbeat("sess-1", 1), error(), error({"job_id": "x"})])
def test_what_speaks_of_none_leaves_all(event: SessionEvent) -> None:
    unheard = said(utterance(0))
    unheard.hear(event)
    assert list(unheard.utterances) == [0]
    assert unheard.replies == 0


def test_results_and_errors_of_utterances_are_the_replies() -> None:
    unheard = Unheard()
    for event in (
        UiEvent("t", "sess-1", "job-0", 0, "NMT_DONE", "ok"),
        result(0),
        UiEvent("t", "sess-1", "job-1", 1, "ERROR", "error"),
        error({"utterance_index": 1}),
        error(),
    ):
        unheard.hear(event)
    assert unheard.replies == 2


# --- chunks --------------------------------------------------------------------------------


def test_all_above_what_was_received_is_missing() -> None:
    unheard = said(*map(chunk, range(5)))
    assert seqs(unheard.missing(ack(received=2))) == [3, 4]
    assert seqs(unheard.missing(ack(received=1))) == [2, 3, 4]


def test_what_was_cut_is_not_and_is_forgotten() -> None:
    unheard = said(chunk(0), chunk(1, final=True), chunk(2))
    assert seqs(unheard.missing(ack(cut=1))) == [2]
    assert seqs(unheard.missing(ack())) == [2]


def test_where_nothing_was_received_all_is_missing() -> None:
    unheard = said(chunk(0), chunk(1))
    assert seqs(unheard.missing(ack())) == [0, 1]
    assert seqs(unheard.missing(SessionInitAck("sess-1", None, "", "t"))) == [0, 1]


def test_whether_an_utterance_was_begun_and_not_ended_is_known() -> None:
    unheard = Unheard()
    speaking = [unheard.is_speaking]
    for message in (chunk(0), chunk(1, final=True), chunk(2)):
        unheard.say(message)
        speaking.append(unheard.is_speaking)
    unheard.missing(ack(cut=2))  # by a pause
    assert [*speaking, unheard.is_speaking] == [False, True, False, True, False]


def test_of_more_than_the_bound_the_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPEECH_BYTES_MAX", 8)
    unheard = said(*map(chunk, range(5)))
    assert seqs(unheard.missing(ack())) == [3, 4]
    unheard.say(chunk(5, payload="A" * 100))
    assert seqs(unheard.missing(ack())) == [5]


STEPS = st.lists(
    st.sampled_from(["say", "say", "end", "pause", "deliver", "deliver", "resume"]), max_size=60
)


@given(STEPS)
def test_what_the_scheduler_got_is_all_that_was_said(steps: list[str]) -> None:
    """Chunks wait on the line; a resumption finds it cut, and what was on it is lost."""
    unheard = Unheard()
    line: list[AudioChunk] = []
    got: list[int] = []
    received: int | None = None
    cut: int | None = None
    next_seq = 0

    def deliver() -> None:
        nonlocal received, cut
        one = line.pop(0)
        got.append(one.seq)
        received, cut = (None, one.seq) if one.is_final else (one.seq, cut)

    for step in [*steps, "resume"]:
        if step in {"say", "end"}:
            one = chunk(next_seq, final=step == "end")
            next_seq += 1
            unheard.say(one)
            line.append(one)
        elif step == "deliver" and line:
            deliver()
        elif step == "pause" and received is not None:
            received, cut = None, received
        elif step == "resume":
            line = unheard.missing(ack(received, cut))
    while line:
        deliver()
    assert got == list(range(next_seq))
