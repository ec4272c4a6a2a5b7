import pytest

from tests.chaos.history import Event
from tests.chaos.recovery import TO_ALL, WATCHDOG, recoveries, replaced_ns, serving_ns

SECOND_NS = 1_000_000_000


def at(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def kill(seconds: float, who: str, number: int = 1, how: str = "SIGKILL") -> Event:
    return Event(at(seconds), who, "killed", index=number, how=how, size=70 + number)


def event(seconds: float, who: str, what: str, pid: int = 7) -> Event:
    return Event(at(seconds), who, what, size=pid)  # type: ignore[arg-type]


def besides(*others: Event, took: float = 1.0) -> tuple[str, ...]:
    """Return what is said to have held up a kill at 10 s."""
    events = sorted([kill(10, "gateway 0"), *others], key=lambda e: e.at_ns)
    probes = {1: at(took), 2: at(0.5)}
    [found] = [r for r in recoveries(events, {1: at(0.1)}, probes) if r.who == "gateway 0"]
    assert (found.taken_in_ns, found.took_ns) == (at(0.1), at(took))
    return found.meanwhile


def test_a_kill_alone() -> None:
    assert besides() == ()
    assert besides(kill(9, "dispatcher", 2), kill(11.1, "dispatcher", 3)) == ()


@pytest.mark.parametrize("seconds", [9.6, 10.9])
def test_another_kill_near_by(seconds: float) -> None:
    assert besides(kill(seconds, "dispatcher", 2)) == (f"dispatcher SIGKILL {seconds - 10:+.1f} s",)


def test_one_blow_is_one_kill() -> None:
    blow = [kill(10, "gateway 0", 1, TO_ALL), kill(10.01, "dispatcher", 2, TO_ALL)]
    assert [r.meanwhile for r in recoveries(blow, {}, {1: at(1), 2: at(1)})] == [(), ()]
    assert besides(kill(10.01, "dispatcher", 2)) == ("dispatcher SIGKILL +0.0 s",)


def test_stats_serves_nobody() -> None:
    assert besides(kill(10.5, "stats", 2), event(9, "stats", "stopped")) == ()


def test_another_process_stood_still() -> None:
    stopped = event(7, "gateway 1", "stopped")
    assert besides(stopped, event(10.2, "gateway 1", "continued")) == (
        "gateway 1 stood still -3.0 s",
    )
    assert besides(stopped, event(10.2, "gateway 1", "died")) != ()
    assert besides(event(10.02, "gateway 1", "stopped"), event(13, "gateway 1", "continued")) != ()
    assert besides(stopped, event(9.9, "gateway 1", "continued")) == ()


def watchdog(seconds: float, who: str, pid: int) -> Event:
    return Event(at(seconds), who, "killed", index=9, how=WATCHDOG, size=pid)


def test_how_long_stopped_processes_had_no_successor_that_served() -> None:
    events = [
        event(1, "stats", "stopped", 5),
        event(2, "gateway 0", "stopped", 6),
        event(3, "gateway 0", "continued", 6),
        event(5, "stats", "died", 5),
        event(5, "stats", "started", 7),
        watchdog(5.1, "stats", 5),
        event(5.1, "stats", "continued", 5),
        event(5.5, "stats", "serves", 7),
        event(9, "gateway 0", "died", 6),
        event(10, "gateway 0", "serves", 8),
    ]
    assert replaced_ns(events) == {"stats": [at(4.5)]}


def test_who_was_killed_otherwise_while_it_stood_is_not_counted() -> None:
    events = [
        event(1, "stats", "stopped", 71),
        kill(2, "stats"),
        event(2, "stats", "died", 71),
        event(3, "stats", "serves", 7),
    ]
    assert replaced_ns(events) == {}


@pytest.mark.parametrize("other", [kill(5.2, "stats"), event(5.2, "stats", "stopped", 7)])
def test_nor_is_one_whose_successor_something_befell(other: Event) -> None:
    events = [
        event(1, "stats", "stopped", 5),
        watchdog(5.1, "stats", 5),
        other,
        event(8, "stats", "serves", 8),
    ]
    assert replaced_ns(events) == {}


def test_how_soon_a_successor_served() -> None:
    events = [
        kill(1, "stats", 1),
        kill(2, "stats", 2),
        event(2.5, "stats", "serves"),
        kill(3, "gateway 0", 3),
        event(3.2, "gateway 0", "stopped"),
        event(9, "gateway 0", "serves"),
    ]
    assert serving_ns(events) == {"stats": [at(0.5)]}
