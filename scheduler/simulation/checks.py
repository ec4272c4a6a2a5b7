"""What a broken promise looks like, and what every part of the simulator reports it with."""

from collections import Counter, deque
from typing import Any

_EVENTS_SHOWN = 60


class InvariantViolation(AssertionError):  # noqa: N818 - says what happened, like AssertionError
    """The core, or the gateway model around it, broke one of its promises."""


def check(holds: bool, promise: str, *facts: Any) -> None:
    """Raise InvariantViolation with `promise` and `facts` unless `holds`."""
    if not holds:
        raise InvariantViolation(f"{promise}: {', '.join(map(repr, facts))}")


class History:
    """The last events, kept as they are and put into words only when something is wrong."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, str, Any]] = deque(maxlen=_EVENTS_SHOWN)

    def note(self, now_ns: int, what: str, record: Any) -> None:
        """Remember an event."""
        self._events.append((now_ns, what, record))

    def __str__(self) -> str:
        return "\n".join(
            f"{now_ns / 1e6:12.3f} ms  {what:<14} {record}" for now_ns, what, record in self._events
        )


class Outcomes:
    """How each job ended that a gateway accepted: once, and in one way."""

    def __init__(self) -> None:
        self.accepted = 0
        self._ended: dict[int, str] = {}

    def accept(self, job: int) -> None:
        """A gateway took the job on."""
        check(job not in self._ended, "a job's key is never used twice", job)
        self.accepted += 1

    def end(self, job: int, how: str) -> None:
        """Note the job's one end."""
        check(job not in self._ended, "a job ends once", job, self._ended.get(job), how)
        self._ended[job] = how

    def surprise(self, job: int, record: Any) -> None:
        """A terminal record came for a job that its gateway no longer has."""
        check(
            self._ended.get(job) == "cancelled",
            "only a job that was just given up gets a terminal record too many",
            record,
            self._ended.get(job),
        )

    def how(self, job: int) -> str | None:
        """Return how a job ended, None while it has not."""
        return self._ended.get(job)

    def by_end(self) -> dict[str, int]:
        """Return how many jobs ended in which way."""
        return dict(Counter(self._ended.values()))

    @property
    def ended(self) -> int:
        """How many jobs ended at all."""
        return len(self._ended)
