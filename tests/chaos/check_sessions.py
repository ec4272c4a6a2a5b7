"""What a session is promised, held against what it heard.

Each utterance of a conversation that lived on has exactly one terminal reply, a result or an error;
of others none has two. Results come in the order of the utterances and are the session's own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.history import FINISHED, Event, parse_tag
from tests.chaos.violation import Promise, Violation

REFUSALS = frozenset({"SERVER_BUSY", "SERVER_SHUTDOWN"})
"""What a request that made no job is told; a repeat of it is a request of its own."""

EXPECTED_WITHOUT_UTTERANCE = frozenset({"SERVER_SHUTDOWN"})
"""Errors that a session which does nothing wrong may hear besides those of its utterances."""


@dataclass(slots=True)
class _Utterance:
    sent_ns: int
    tag: str
    repeats: int = 0
    refusals: int = 0
    results: int = 0
    failures: int = 0
    dispatched: int = 0
    last_job: str = ""

    @property
    def replies(self) -> int:
        return self.refusals + self.results + self.failures


@dataclass(slots=True)
class SessionTotals:
    """Sums over all conversations."""

    conversations: int = 0
    finished: int = 0
    """Conversations that lived on until they had all replies."""
    utterances: int = 0
    results: int = 0
    failures: int = 0
    refusals: int = 0
    repeats: int = 0
    resumed: int = 0
    cut_off: int = 0
    """Utterances whose connection ended before their reply."""
    codes: dict[str, int] = field(default_factory=dict)
    """Failures and refusals by code."""

    def count(self, code: str) -> None:
        """Count an error."""
        self.codes[code] = self.codes.get(code, 0) + 1


class Conversation:
    """One connection of a session."""

    def __init__(self, who: str, totals: SessionTotals) -> None:
        self._who = who
        self._totals = totals
        self._session = ""
        self._utterances: dict[int, _Utterance] = {}
        self._last_result = -1
        self._closed = ""
        self._found: list[Violation] = []

    def take(self, event: Event) -> None:
        """Take the next event of this connection."""
        self._session = event.session
        match event.what:
            case "sent":
                self._utterances[event.index] = _Utterance(event.at_ns, event.text)
            case "repeated":
                self._utterances[event.index].repeats += 1
            case "dispatched" | "result" | "error":
                self._heard(event)
            case "resumed":
                self._totals.resumed += 1
            case "closed":
                self._closed = event.how
            case _:
                pass

    def _heard(self, event: Event) -> None:
        if event.what == "error" and event.index < 0:
            if event.how not in EXPECTED_WITHOUT_UTTERANCE:
                self._violated("closed", event, f"heard {event.how}: {event.text}")
            return
        utterance = self._utterances.get(event.index)
        if utterance is None:
            self._violated("cross-delivered", event, f"never said utterance {event.index}")
            return
        utterance.last_job = event.job or utterance.last_job
        if event.what == "dispatched":
            utterance.dispatched += 1
            if utterance.dispatched > 1:
                self._violated("duplicated", event, "DISPATCHED came twice")
        elif event.what == "error":
            self._totals.count(event.how)
            if event.how in REFUSALS:
                utterance.refusals += 1
            else:
                utterance.failures += 1
            self._check_once(event, utterance)
        else:
            utterance.results += 1
            self._check_result(event, utterance)
            self._check_once(event, utterance)

    def _check_result(self, event: Event, utterance: _Utterance) -> None:
        if event.text != utterance.tag:
            tag = parse_tag(event.text)
            whose = "somebody else's" if tag is None or tag.session != self._session else "another"
            text = f"{whose} result for utterance {event.index}: {event.text[:200]!r}"
            self._violated("cross-delivered", event, text)
        if event.index <= self._last_result:
            text = f"the result of {event.index} came after that of {self._last_result}"
            self._violated("out of order", event, text)
        self._last_result = max(self._last_result, event.index)

    def _check_once(self, event: Event, utterance: _Utterance) -> None:
        requests = 1 + utterance.repeats
        jobs = utterance.results + utterance.failures
        # Of requests that were refused each is answered; of the others all together once.
        if jobs > 1 or utterance.refusals + min(jobs, 1) > requests:
            text = f"utterance {event.index} has {utterance.replies} terminal replies"
            self._violated("duplicated", event, text)

    def _violated(self, promise: Promise, event: Event, detail: str) -> None:
        self._found.append(
            Violation(promise, event.at_ns, self._who, detail, self._session, event.job)
        )

    def end(self) -> Iterator[Violation]:
        """Yield what was found; to be called after the last event."""
        totals = self._totals
        totals.conversations += 1
        totals.finished += self._closed == FINISHED
        lived_on = self._closed in {FINISHED, ""}
        for index, utterance in self._utterances.items():
            totals.utterances += 1
            totals.results += utterance.results
            totals.failures += utterance.failures
            totals.refusals += utterance.refusals
            totals.repeats += utterance.repeats
            if utterance.replies:
                continue
            if lived_on:
                text = f"utterance {index} has no terminal reply"
                lost = Violation(
                    "lost", utterance.sent_ns, self._who, text, self._session, utterance.last_job
                )
                self._found.append(lost)
            else:
                totals.cut_off += 1
        yield from self._found


def check_sessions(events: Iterable[Event], totals: SessionTotals) -> Iterator[Violation]:
    """Check the history of one worker; conversations of its sessions may be interleaved."""
    conversations: dict[str, tuple[int, Conversation]] = {}
    for event in events:
        number, conversation = conversations.get(event.who, (-1, None))
        if event.what == "refused":
            continue
        if conversation is None or number != event.conn:
            if conversation is not None:
                yield from conversation.end()
            conversation = Conversation(event.who, totals)
            conversations[event.who] = (event.conn, conversation)
        conversation.take(event)
    for _, conversation in conversations.values():
        yield from conversation.end()
