"""Connections and processes end only for a reason that the history knows.

A session whose gateway crashed by itself would otherwise count as one whose gateway was killed, and
be owed nothing.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from scheduler.protocol.ids import gateway_of, parse_wire_job_id
from tests.chaos.history import CLOSED_BY_US, NOT_RESUMED, RESUME, Event
from tests.chaos.violation import Violation

SECOND_NS = 1_000_000_000

DEATH_SEEN_NS = (6 * SECOND_NS, 1 * SECOND_NS)
"""A connection's end may be noted so long after and before the death of its gateway is."""

WITH_IT_NS = 6 * SECOND_NS
"""Children are gone so long after their supervisor was killed."""

ROLL_NS = 60 * SECOND_NS
"""A roll replaces all gateways within that time."""

LINK_NS = 40 * SECOND_NS
"""So long after a link was cut its peers may meet what was closed meanwhile."""

GOING_AWAY, NO_SIGN_OF_LIFE, CUT = "1012", "1011", "1006"

_PID = re.compile(r"\bpids? ([\d and,\[\]]+)")


class Reasons:
    """When what happened that ends connections and processes."""

    def __init__(self, events: Iterable[Event]) -> None:
        """`events` are the harness's own."""
        self._deaths: dict[str, list[int]] = {}
        self._rolls: list[int] = []
        self._links: list[int] = []
        self._supervisors: list[int] = []
        self._hit: set[int] = set()
        """Pids of processes that were killed or stopped."""
        self.died: list[Event] = []
        for event in events:
            match event.what:
                case "died":
                    self._deaths.setdefault(event.who, []).append(event.at_ns)
                    self.died.append(event)
                case "killed":
                    self._hit.add(event.size)
                    if event.who == "supervisor":
                        self._supervisors.append(event.at_ns)
                case "fault" if event.how.startswith("roll"):
                    self._rolls.append(event.at_ns)
                case "fault" if event.how.startswith("half-open"):
                    self._links.append(event.at_ns)
                case "fault" if event.how.startswith("stop"):
                    found = _PID.search(event.text)
                    self._hit.update(map(int, re.findall(r"\d+", found[1]) if found else ()))
                case _:
                    pass

    def of_close(self, event: Event, gateway: int | None, *, led: bool, away: bool) -> str:
        """Return why a connection was closed, "" where nothing explains it.

        `gateway` is its own where that is known; a socket may be `led` there by another one, and
        goes with that too. `away` peers are behind the link that can be cut.
        """
        if event.how in CLOSED_BY_US:
            return "by its peer"
        if event.how == NOT_RESUMED:
            return NOT_RESUMED  # why that was refused is looked at by itself
        if event.how == NO_SIGN_OF_LIFE:
            return "no sign of life"
        # A gateway that leads a socket can't say goodbye on it: half a frame may be on its way.
        goodbye = event.how == GOING_AWAY or (event.how == CUT and led)
        if goodbye and _within(self._rolls, event.at_ns, ROLL_NS, 0):
            return "gateway replaced"
        if event.how == GOING_AWAY and _within(self._supervisors, event.at_ns, WITH_IT_NS, 0):
            return "supervisor gone"  # which gateways notice before the kernel kills them
        if event.how == CUT and self._gateway_died(event.at_ns, None if led else gateway):
            return "gateway gone"
        if event.how == CUT and away and _within(self._links, event.at_ns, LINK_NS, 0):
            return "link cut"
        return ""

    def of_refusal(self, event: Event, opened_ns: int, *, away: bool) -> str:
        """Return why a session that began at `opened_ns` could not resume, "" likewise."""
        since_ns = event.at_ns - opened_ns
        deaths = self._deaths.get(f"gateway {event.size}", [])
        if _within(deaths, event.at_ns, since_ns, DEATH_SEEN_NS[1]):
            return "gateway gone"
        return "link cut" if away and _within(self._links, event.at_ns, LINK_NS, 0) else ""

    def _gateway_died(self, at_ns: int, gateway: int | None) -> bool:
        names = [name for name in self._deaths if name.startswith("gateway")]
        if gateway is not None:
            names = [f"gateway {gateway}"]
        return any(_within(self._deaths.get(name, []), at_ns, *DEATH_SEEN_NS) for name in names)

    def of_death(self, event: Event) -> str:
        """Return why a process ended, "" where nothing explains it."""
        if event.size in self._hit:
            return "hit"
        if _within(self._supervisors, event.at_ns, WITH_IT_NS, 0):
            return "with its supervisor"
        rolled = _within(self._rolls, event.at_ns, ROLL_NS, 0)
        return "replaced" if event.who.startswith("gateway") and rolled else ""


def _within(times: list[int], at_ns: int, after_ns: int, before_ns: int) -> bool:
    """Whether any of the sorted `times` lies at most `after_ns` before `at_ns`, or so."""
    at = bisect_left(times, at_ns - after_ns)
    return at < len(times) and times[at] <= at_ns + before_ns


def check_deaths(reasons: Reasons) -> Iterator[Violation]:
    """Yield the processes that ended by themselves."""
    for event in reasons.died:
        if not reasons.of_death(event):
            yield Violation("died", event.at_ns, event.who, f"pid {event.size} ended by itself")


def check_closings(
    events: Iterable[Event],
    reasons: Reasons,
    epochs: Collection[str],
    closings: Counter[str],
    *,
    away: bool,
) -> Iterator[Violation]:
    """Check the history of one worker; `closings` counts connections by how they ended."""
    gateways: dict[tuple[str, int], int] = {}
    opened: dict[tuple[str, int], int] = {}
    led: set[tuple[str, int]] = set()
    """Sessions that came back, on a socket that another gateway may have accepted."""
    for event in events:
        peer = (event.who, event.conn)
        if event.what in {"dispatched", "result"}:
            for epoch in epochs:
                job = parse_wire_job_id(epoch, event.job)
                if job is not None:
                    gateways[peer] = gateway_of(job)
        elif event.what == "opened":
            opened[peer] = event.at_ns
        elif event.what == "resumed":
            led.add(peer)
        elif event.what == "refused" and event.how.startswith(RESUME):
            if not reasons.of_refusal(event, opened[peer], away=away):
                text = f"could not come back ({event.how}) for no known reason"
                yield Violation("closed", event.at_ns, event.who, text, event.session)
        elif event.what in {"closed", "lost"}:
            reason = reasons.of_close(event, gateways.get(peer), led=peer in led, away=away)
            name = reason or event.how
            closings[f"{name}, to come back" if event.what == "lost" else name] += 1
            if not reason:
                text = f"connection {event.conn} was closed with {event.how}, for no known reason"
                yield Violation("closed", event.at_ns, event.who, text, event.session)
