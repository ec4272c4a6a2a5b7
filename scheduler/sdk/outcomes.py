"""How each utterance of a session ended, worked out from the events that arrive."""

import asyncio

from msgspec import UNSET, Struct

from scheduler.protocol.codes import hint
from scheduler.protocol.session import ErrorMessage, TranslationResult, UiEvent
from scheduler.sdk.errors import SdkError, SessionError
from scheduler.sdk.messages import SessionEvent

OUTCOMES_MAX = 256
"""Outcomes kept for a caller that asks late; older ones are forgotten."""

_GRACE_SECONDS = 0.5
"""A failure comes as `ui_event` and then `error`; waits this long for the second."""

Outcome = TranslationResult | SdkError


class _Failing(Struct):
    """A `ui_event ERROR` whose `error` has not come yet."""

    code: str
    hint: str
    timer: asyncio.TimerHandle


class Outcomes:
    """Terminal outcomes by utterance index. Waiters get the same outcome, however many."""

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[Outcome]] = {}
        self._failing: dict[int, _Failing] = {}
        self._lost: SdkError | None = None

    async def wait(self, index: int, timeout_seconds: float) -> TranslationResult:
        """Return the result, or raise the error it ended with, or TimeoutError."""
        future = self._future(index)
        # Not wait_for: a caller that gives up must not cancel what others wait for.
        done, _ = await asyncio.wait({future}, timeout=timeout_seconds)
        if not done:
            raise TimeoutError(f"utterance {index} has no outcome after {timeout_seconds:g} s")
        outcome = future.result()
        if isinstance(outcome, SdkError):
            raise outcome
        return outcome

    def note(self, event: SessionEvent) -> None:
        """Take an event of the session."""
        if isinstance(event, TranslationResult):
            self._settle(event.utterance_index, event)
        elif isinstance(event, UiEvent) and event.event == "ERROR":
            self._begin_failure(event)
        elif isinstance(event, ErrorMessage):
            self._end_failure(event)

    def lose(self, error: SdkError) -> None:
        """The session is over: whatever has no outcome yet ends with `error`."""
        for index in list(self._failing):
            self._fail_with_hint(index)
        self._lost = error
        for future in self._futures.values():
            if not future.done():
                future.set_result(error)

    def _begin_failure(self, event: UiEvent) -> None:
        code = event.error_code or "INTERNAL_ERROR"
        timer = asyncio.get_running_loop().call_later(
            _GRACE_SECONDS, self._fail_with_hint, event.utterance_index
        )
        self._failing[event.utterance_index] = _Failing(code, event.hint or hint(code), timer)

    def _fail_with_hint(self, index: int) -> None:
        failing = self._failing.pop(index, None)
        if failing:
            failing.timer.cancel()
            self._settle(index, SessionError(failing.code, failing.hint, failing.hint))

    def _end_failure(self, error: ErrorMessage) -> None:
        """Give an `error` to the utterance it names, else to the one that began to fail first."""
        details = {} if error.details is UNSET else error.details
        index = details.get("utterance_index", next(iter(self._failing), None))
        if not isinstance(index, int):
            return
        failing = self._failing.pop(index, None)
        if failing:
            failing.timer.cancel()
        sentence = failing.hint if failing else hint(error.code)
        self._settle(index, SessionError(error.code, error.message, sentence))

    def _settle(self, index: int, outcome: Outcome) -> None:
        future = self._future(index)
        if not future.done():
            future.set_result(outcome)

    def _future(self, index: int) -> "asyncio.Future[Outcome]":
        future = self._futures.get(index)
        if future is None:
            future = self._futures[index] = asyncio.get_running_loop().create_future()
            if self._lost:
                future.set_result(self._lost)
            self._forget_oldest()
        return future

    def _forget_oldest(self) -> None:
        if len(self._futures) > OUTCOMES_MAX:
            done = (index for index, future in self._futures.items() if future.done())
            oldest = next(done, None)
            if oldest is not None:
                del self._futures[oldest]
