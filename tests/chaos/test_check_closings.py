"""Ends that nothing explains are found; those that something explains are not."""

from collections import Counter

import pytest

from scheduler.protocol.ids import job_key_base, wire_job_id
from tests.chaos.check_closings import SECOND_NS, Reasons, check_closings, check_deaths
from tests.chaos.history import HARNESS, Event, What

EPOCH = "e"
AT_NS = 1_000 * SECOND_NS


def closed(how: str, gateway: int | None = None) -> list[Event]:
    events = [Event(AT_NS, "session 1", "closed", 1, "sess-A", how=how)]
    if gateway is not None:
        job = wire_job_id(EPOCH, job_key_base(gateway, 5) + 1)
        events.insert(0, Event(AT_NS - 1, "session 1", "dispatched", 1, "sess-A", 0, job))
    return events


def death(gateway: int, seconds_before: float = 0.0, pid: int = 77) -> Event:
    return Event(AT_NS - int(seconds_before * SECOND_NS), f"gateway {gateway}", "died", size=pid)


def fault(how: str, seconds_before: float, text: str = "") -> Event:
    return Event(AT_NS - int(seconds_before * SECOND_NS), HARNESS, "fault", text=text, how=how)


def unexplained(events: list[Event], harness: list[Event], *, away: bool = False) -> list[str]:
    found = check_closings(
        events, Reasons(harness), ("an earlier one", EPOCH), Counter(), away=away
    )
    return [violation.promise for violation in found]


@pytest.mark.parametrize("how", ["finished", "cut", "left", "1011"])
def test_some_ends_need_no_reason(how: str) -> None:
    assert not unexplained(closed(how), [])


@pytest.mark.parametrize("how", ["1000", "1002", "1006", "1008", "1012"])
def test_others_do(how: str) -> None:
    assert unexplained(closed(how), []) == ["closed"]


def test_its_gateway_died() -> None:
    assert not unexplained(closed("1006", gateway=1), [death(1, 0.5)])
    assert not unexplained(closed("1006", gateway=1), [death(1, -0.5)])


def test_another_gateway_died() -> None:
    assert unexplained(closed("1006", gateway=1), [death(0, 0.5)]) == ["closed"]


def test_whoever_it_was_where_its_gateway_is_not_known() -> None:
    assert not unexplained(closed("1006"), [death(0, 0.5)])


@pytest.mark.parametrize("seconds_before", [20, -5])
def test_its_gateway_died_at_another_time(seconds_before: float) -> None:
    assert unexplained(closed("1006", gateway=1), [death(1, seconds_before)]) == ["closed"]


def test_its_gateway_was_replaced() -> None:
    assert not unexplained(closed("1012"), [fault("roll gateways", 5)])
    assert unexplained(closed("1012"), [fault("roll gateways", 500)]) == ["closed"]
    assert unexplained(closed("1012"), [fault("roll gateways", -5)]) == ["closed"]


def test_its_link_was_cut() -> None:
    links = [fault("half-open link: both ways", 10)]
    assert not unexplained(closed("1006"), links, away=True)
    assert unexplained(closed("1006"), links) == ["closed"]


def test_ends_are_counted_by_reason() -> None:
    closings: Counter[str] = Counter()
    events = [*closed("1006"), *closed("1000"), *closed("cut")]
    assert [*check_closings(events, Reasons([death(0)]), EPOCH, closings, away=False)]
    assert closings == {"gateway gone": 1, "1000": 1, "by its peer": 1}


@pytest.mark.parametrize(
    "hit",
    [
        Event(AT_NS, "gateway 1", "killed", how="SIGKILL", size=77),
        fault("stop short: gateway", 8, "gateway 1 pid 77 for 3.0 s"),
        fault("stop long: gateway", 8, "gateway 1 pid 77"),
        fault("roll gateways", 8),
        Event(AT_NS - 2 * SECOND_NS, "supervisor", "killed", how="SIGKILL", size=70),
    ],
)
def test_deaths_that_were_meant(hit: Event) -> None:
    assert not [*check_deaths(Reasons([hit, death(1)]))]


@pytest.mark.parametrize(
    "other",
    [
        Event(AT_NS, "gateway 1", "killed", how="SIGKILL", size=78),
        Event(AT_NS - 20 * SECOND_NS, "supervisor", "killed", how="SIGKILL", size=70),
        fault("stop short: gateway", 8, "gateway 1 pid 78 for 77.0 s"),
        fault("kill dispatcher", 8, "dispatcher pid 78"),
    ],
)
def test_a_death_by_itself(other: Event) -> None:
    [violation] = check_deaths(Reasons([other, death(1)]))
    assert (violation.promise, violation.who) == ("died", "gateway 1")


def test_a_roll_ends_gateways_alone() -> None:
    died = Event(AT_NS, "dispatcher", "died", size=9)
    assert [*check_deaths(Reasons([fault("roll gateways", 8), died]))]


@pytest.mark.parametrize(
    ("died", "found"),
    [(death(1, 5), []), (death(1, 15), ["closed"]), (death(0, 5), ["closed"])],
    ids=["its gateway", "its gateway, before it began", "another gateway"],
)
def test_a_session_that_could_not_come_back(died: Event, found: list[str]) -> None:
    events = [
        Event(AT_NS - 10 * SECOND_NS, "session 1", "opened", 1, "sess-A"),
        Event(AT_NS - SECOND_NS, "session 1", "lost", 1, "sess-A", how="cut"),
        Event(AT_NS, "session 1", "refused", 1, "sess-A", how="resume: INVALID_SESSION", size=1),
        Event(AT_NS, "session 1", "closed", 1, "sess-A", how="not resumed"),
    ]
    assert unexplained(events, [died]) == found


def test_a_socket_lost_on_the_way_needs_a_reason_too() -> None:
    lost = Event(AT_NS, "session 1", "lost", 1, "sess-A", how="1006")
    assert unexplained([lost], []) == ["closed"]
    assert not unexplained([lost], [death(1, 0.5)])


def test_gateways_may_say_goodbye_when_their_supervisor_is_killed() -> None:
    killed = Event(AT_NS - SECOND_NS, "supervisor", "killed", how="SIGKILL", size=70)
    assert not unexplained(closed("1012", gateway=1), [killed])
    assert unexplained(closed("1006", gateway=1), [killed]) == ["closed"]


WHATS: tuple[What, ...] = ("opened", "resumed", "lost")


def test_a_session_that_came_back_may_hang_on_another_gateway_too() -> None:
    opened, resumed, lost = (
        Event(AT_NS, "session 1", what, 1, "sess-A", how="1006") for what in WHATS
    )
    events = [opened, *closed("1006", gateway=1)[:1], lost]
    for reason in (death(0, 0.5), fault("roll gateways", 2)):
        assert unexplained(events, [reason]) == ["closed"]
    events.insert(1, resumed)
    for reason in (death(0, 0.5), fault("roll gateways", 2)):
        assert not unexplained(events, [reason])
