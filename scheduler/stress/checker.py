"""What a session is promised, held against what it hears, while it hears it.

Each utterance has exactly one terminal reply, a result or an error; results come in the order of
the utterances; none belongs to somebody else.
"""

from scheduler.stress.messages import CUT_OFF, LOST, UNFINISHED, Call, Violation

LOST_REPLY = "lost"
DUPLICATED = "duplicated"
OUT_OF_ORDER = "out of order"
NOT_OURS = "not ours"

VIOLATIONS_KEPT_MAX = 1_000
"""Of one driver; more of them say nothing new."""


class Findings:
    """Finished calls and broken promises of all sessions, until they are handed on."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.violations: list[Violation] = []
        self._violations_total = 0

    def violated(self, what: str, text: str) -> None:
        """Note a broken promise."""
        self._violations_total += 1
        if self._violations_total <= VIOLATIONS_KEPT_MAX:
            self.violations.append(Violation(what, text))


class Ledger:
    """The utterances of one connection."""

    def __init__(self, session_id: str, findings: Findings) -> None:
        self.next_index = 0
        self.unsure = 0
        """Utterances that the scheduler may have cut by itself, for the speaker paused."""
        self._session_id = session_id
        self._findings = findings
        self._open: dict[int, Call] = {}
        self._last_result = -1

    def __len__(self) -> int:
        return len(self._open)

    def newest_sent_ns(self) -> int:
        """Return when the newest utterance without a reply was sent, 0 where there is none."""
        return max((call.sent_ns for call in self._open.values()), default=0)

    def sent(self, call: Call) -> None:
        """Note an utterance that is being sent; its index is the next one."""
        assert call.index == self.next_index
        self.next_index += 1
        self._open[call.index] = call

    def result(self, session_id: str, index: int, now_ns: int) -> None:
        """Take a result."""
        if session_id != self._session_id:
            self._violated(NOT_OURS, f"heard the result of utterance {index} of {session_id}")
            return
        if index < self._last_result:
            self._violated(
                OUT_OF_ORDER,
                f"the result of utterance {index} came after that of {self._last_result}",
            )
        self._last_result = max(self._last_result, index)
        self._finish(index, now_ns, "", accepted=True)

    def error(self, index: int, code: str, now_ns: int, *, accepted: bool) -> None:
        """Take an error that names an utterance; `accepted` tells that it was a job."""
        self._finish(index, now_ns, code, accepted=accepted)

    def cut_off(self, now_ns: int) -> None:
        """The connection is gone: nothing is promised to who isn't there."""
        self._finish_all(now_ns, CUT_OFF)

    def unfinished(self, now_ns: int) -> None:
        """The run was ended: what is open now might still have had its reply."""
        self._finish_all(now_ns, UNFINISHED)

    def lost(self, now_ns: int) -> None:
        """All deadlines are over: what is open now will not be answered any more."""
        for index in self._open:
            self._violated(LOST_REPLY, f"utterance {index} was never answered")
        self._finish_all(now_ns, LOST)

    def _finish(self, index: int, now_ns: int, code: str, *, accepted: bool) -> None:
        call = self._open.pop(index, None)
        if call is None:
            self._unexpected(index)
            return
        call.done_ns, call.code, call.accepted = now_ns, code, accepted
        self._findings.calls.append(call)

    def _unexpected(self, index: int) -> None:
        if 0 <= index < self.next_index:
            self._violated(DUPLICATED, f"utterance {index} was answered twice")
        elif self.unsure and index == self.next_index:
            self.unsure -= 1
            self.next_index += 1
        else:
            self._violated(NOT_OURS, f"utterance {index} was answered, but never said")

    def _finish_all(self, now_ns: int, code: str) -> None:
        for call in self._open.values():
            call.done_ns, call.code = now_ns, code
            self._findings.calls.append(call)
        self._open.clear()

    def _violated(self, what: str, text: str) -> None:
        self._findings.violated(what, f"session {self._session_id}: {text}")
