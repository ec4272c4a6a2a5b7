"""What a node is promised, held against what it saw.

It never has more unfinished jobs than it said it could do, gets jobs only while its last status was
`ready`, and hears the speech that the session spoke. An attempt at a job is given out once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.history import AGAIN, LATE, UNKNOWN, WRONG, Event, parse_tag
from tests.chaos.violation import Promise, Violation

_ENDS_NOTHING = frozenset({AGAIN, LATE, WRONG, UNKNOWN})

Given = dict[tuple[str, int], str]
"""Who was given which attempt at which job."""


@dataclass(slots=True)
class NodeTotals:
    """Sums over all nodes."""

    assigned: int = 0
    answered: int = 0
    cancelled: int = 0
    claimed: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    """Answers by how they were given."""
    refused: dict[str, int] = field(default_factory=dict)
    """Connections and registrations that did not come about."""


class NodeStory:
    """One node over all its connections."""

    def __init__(self, node_id: str, given: Given, totals: NodeTotals) -> None:
        """`given` is shared by all nodes."""
        self._node_id = node_id
        self._given = given
        self._totals = totals
        self._capacity = 0
        self._status = ""
        self._unfinished: dict[str, int] = {}

    def take(self, event: Event) -> Iterator[Violation]:
        """Take the next event of this node; yield what is wrong with it."""
        totals = self._totals
        match event.what:
            case "joined":
                self._join(event)
            case "status":
                self._status = event.how
            case "assigned":
                totals.assigned += 1
                yield from self._assigned(event)
            case "cancelled":
                totals.cancelled += 1
                self._unfinished.pop(event.job, None)
            case "answered":
                totals.answers[event.how] = totals.answers.get(event.how, 0) + 1
                ends = event.how not in _ENDS_NOTHING
                if ends and self._unfinished.get(event.job) == event.attempt:
                    totals.answered += 1
                    del self._unfinished[event.job]
            case "refused":
                totals.refused[event.how] = totals.refused.get(event.how, 0) + 1
            case _:
                pass

    def _join(self, event: Event) -> None:
        self._capacity = event.size
        self._status = "registering"
        self._unfinished = {}
        for claim in event.text.split():
            job, _, attempt = claim.rpartition(".")
            self._unfinished[job] = int(attempt)
            self._totals.claimed += 1

    def _assigned(self, event: Event) -> Iterator[Violation]:
        if self._status != "ready":
            yield self._violated("not ready", event, f"got a job while {self._status}")
        attempt = (event.job, event.attempt)
        if attempt in self._given:
            text = f"attempt {event.attempt} was given to {self._given[attempt]} before"
            yield self._violated("attempt twice", event, text)
        elif event.job in self._unfinished:
            text = f"works on attempt {self._unfinished[event.job]} and got {event.attempt}"
            yield self._violated("attempt twice", event, text)
        self._given[attempt] = f"{self._node_id} #{event.conn}"
        self._unfinished[event.job] = event.attempt
        if len(self._unfinished) > self._capacity:
            text = f"has {len(self._unfinished)} jobs of {self._capacity}: {[*self._unfinished]}"
            yield self._violated("over capacity", event, text)
        tag = parse_tag(event.text)
        if tag is None or (tag.session, tag.index) != (event.session, event.index):
            text = f"speech of {event.text[:200]!r} for {event.session} {event.index}"
            yield self._violated("cross-delivered", event, text)

    def _violated(self, promise: Promise, event: Event, detail: str) -> Violation:
        return Violation(promise, event.at_ns, self._node_id, detail, event.session, event.job)


def check_nodes(events: Iterable[Event], given: Given, totals: NodeTotals) -> Iterator[Violation]:
    """Check the history of one worker; `given` is shared by those of all workers."""
    stories: dict[str, NodeStory] = {}
    for event in events:
        story = stories.get(event.who)
        if story is None:
            story = stories[event.who] = NodeStory(event.who, given, totals)
        yield from story.take(event)
