"""How soon after each kill a new session was taken in and had a result, and what else went on until
then. Pure.

A kill is "alone" where no other process of those that serve was killed or stood still between it
and that result: only then the time is what the scheduler needs for one kill.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from tests.chaos.history import Event

TOGETHER_NS = 100_000_000
"""Kills of all so close together are one blow."""

TO_ALL = "SIGKILL to all"
"""How a process was killed together with all its siblings."""

WATCHDOG = "watchdog"
"""How a process was killed that stood still: by the supervisor."""

STOOD_STILL = "stood still"
_SERVES_NOBODY = "stats"


class Recovery(Struct, frozen=True):
    """One kill; times are None where no new session got so far in time."""

    who: str
    how: str
    at_ns: int
    taken_in_ns: int | None
    """Until a session that began after it was taken in."""
    took_ns: int | None
    """Until one had a result."""
    meanwhile: tuple[str, ...]
    """What else held it up, in words."""

    @property
    def name(self) -> str:
        """Role and way, as "gateway SIGKILL"."""
        return f"{self.who.split()[0]} {self.how}"


class _Span(Struct, frozen=True):
    """A time in which a process was missing."""

    who: str
    begin_ns: int
    end_ns: int
    what: str


def recoveries(
    harness: Iterable[Event], taken_in: Mapping[int, int], probes: Mapping[int, int]
) -> list[Recovery]:
    """Return all kills; the times until a session was taken in, and had a result, are given in ns
    by the number of the kill."""
    events = [*harness]
    kills = [event for event in events if event.what == "killed"]
    spans = [*_stops(events)]
    spans += [
        _Span(kill.who, kill.at_ns, kill.at_ns + probes.get(kill.index, 0), kill.how)
        for kill in kills
    ]
    spans = [span for span in spans if span.who != _SERVES_NOBODY]
    return [
        Recovery(
            kill.who,
            kill.how,
            kill.at_ns,
            taken_in.get(kill.index),
            probes.get(kill.index),
            _meanwhile(kill, probes.get(kill.index, 0), spans),
        )
        for kill in kills
    ]


def _stops(events: Iterable[Event]) -> Iterable[_Span]:
    """Yield when processes stood still: until they went on, or were gone."""
    since: dict[int, Event] = {}
    for event in events:
        if event.what == "stopped":
            since[event.size] = event
        elif event.what in {"continued", "died"} and event.size in since:
            begin = since.pop(event.size)
            yield _Span(begin.who, begin.at_ns, event.at_ns, STOOD_STILL)


def _meanwhile(kill: Event, took_ns: int, spans: Iterable[_Span]) -> tuple[str, ...]:
    end_ns = kill.at_ns + took_ns

    def is_this_blow(span: _Span) -> bool:
        same = span.what == kill.how == TO_ALL or span.who == kill.who
        return same and abs(span.begin_ns - kill.at_ns) <= TOGETHER_NS

    return tuple(
        f"{span.who} {span.what} {(span.begin_ns - kill.at_ns) / 1e9:+.1f} s"
        for span in spans
        if span.begin_ns <= end_ns and span.end_ns >= kill.at_ns and not is_this_blow(span)
    )


def replaced_ns(harness: Iterable[Event]) -> dict[str, list[int]]:
    """Return by role how long after it was stopped a process had a successor that served.

    Those only that the supervisor killed for it, and whose successor nothing else befell.
    """
    stopped: dict[int, int] = {}
    killed: dict[str, int] = {}
    took: dict[str, list[int]] = {}
    for event in harness:
        if event.what == "stopped":
            stopped[event.size] = event.at_ns
            killed.pop(event.who, None)
        elif event.what == "continued":
            stopped.pop(event.size, None)
        elif event.what == "killed":
            killed.pop(event.who, None)
            if event.how == WATCHDOG and event.size in stopped:
                killed[event.who] = stopped.pop(event.size)
        elif event.what == "serves" and event.who in killed:
            role = event.who.split()[0]
            took.setdefault(role, []).append(event.at_ns - killed.pop(event.who))
    return took


def serving_ns(harness: Iterable[Event]) -> dict[str, list[int]]:
    """Return by role how long after its kill a process had a successor that served.

    Left out are successors that were killed or stopped themselves.
    """
    since: dict[str, int] = {}
    took: dict[str, list[int]] = {}
    for event in harness:
        if event.what == "killed":
            since[event.who] = event.at_ns
        elif event.what == "stopped":
            since.pop(event.who, None)
        elif event.what == "serves" and event.who in since:
            role = event.who.split()[0]
            took.setdefault(role, []).append(event.at_ns - since.pop(event.who))
    return took
