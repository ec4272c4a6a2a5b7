"""Which services the dispatcher hears of, and how often."""

from itertools import cycle, islice

import pytest

from scheduler.gateway.services import TELL_INTERVAL_NS, ServiceNews, Services
from scheduler.protocol.node import InstalledService

START_NS = 5_000_000_000
SWEEP_NS = 100_000_000


class Site:
    """One node's services, and what the dispatcher heard of them at which time."""

    def __init__(self) -> None:
        self.news = ServiceNews()
        self.heard: list[tuple[int, list[str], list[str]]] = []
        self.services = Services(self._hear)
        self.now_ns = START_NS
        self.services.set(installed("a", "b"), None)
        self.services.registered()

    def _hear(self, installed: list[str], ready: list[str]) -> None:
        self.heard.append((self.now_ns, installed, ready))

    def ready(self, *ready: str) -> None:
        """Have the node say in a heartbeat which services are ready."""
        if self.services.set(None, dict.fromkeys(ready, "ready")):
            self.news.changed(self.services, self.now_ns)

    def sweep(self, later_ns: int = 0) -> None:
        self.now_ns += later_ns
        self.news.sweep(self.now_ns)


@pytest.fixture
def site() -> Site:
    return Site()


def installed(*ids: str, version: str = "1") -> list[InstalledService]:
    return [InstalledService(service_id, version, "any") for service_id in ids]


def test_a_change_after_a_quiet_while_is_told_at_once(site: Site) -> None:
    site.ready("a")
    assert site.heard == [(START_NS, ["a", "b"], ["a"])]
    site.sweep(TELL_INTERVAL_NS)
    site.ready("a", "b")
    assert site.heard[1] == (START_NS + TELL_INTERVAL_NS, ["a", "b"], ["a", "b"])


def test_what_follows_waits_and_the_last_state_is_told(site: Site) -> None:
    site.ready("a")
    site.ready("b")
    site.ready()
    site.sweep(TELL_INTERVAL_NS - 1)
    assert len(site.heard) == 1
    site.sweep(1)
    assert site.heard[1:] == [(START_NS + TELL_INTERVAL_NS, ["a", "b"], [])]
    site.sweep(TELL_INTERVAL_NS)
    assert len(site.heard) == 2


def test_records_about_a_node_that_flaps_are_bounded_by_time(site: Site) -> None:
    seconds, beats_per_sweep = 10, 100
    states = cycle([("a",), ("a", "b")])
    for _ in range(seconds * 10):
        for state in islice(states, beats_per_sweep):
            site.ready(*state)
        site.sweep(SWEEP_NS)
    assert 10 <= len(site.heard) <= 1 + seconds * 1_000_000_000 // TELL_INTERVAL_NS
    site.ready()
    site.sweep(TELL_INTERVAL_NS)
    assert site.heard[-1][2] == []


def test_what_placement_does_not_see_is_not_told(site: Site) -> None:
    assert site.services.set(installed("b", "a", version="2"), None)
    site.news.changed(site.services, site.now_ns)
    site.ready("a", "b", "not-installed")
    site.sweep(TELL_INTERVAL_NS)
    assert site.heard == []


def test_what_stays_the_same_is_no_change(site: Site) -> None:
    assert not site.services.set(None, None)
    assert not site.services.set(installed("a", "b"), None)
    assert site.services.set(None, {"a": "ready"})
    assert not site.services.set(installed("a", "b"), {"a": "ready"})


def test_a_registration_tells_all_of_it(site: Site) -> None:
    site.ready("a")
    site.ready("b")
    assert site.services.registered() == (["a", "b"], ["b"])  # a new dispatcher hears it so
    site.sweep(TELL_INTERVAL_NS)
    assert len(site.heard) == 1


def test_of_a_node_that_left_nothing_is_told(site: Site) -> None:
    site.ready("a")
    site.ready("b")
    site.news.forget(site.services)
    site.sweep(TELL_INTERVAL_NS)
    assert len(site.heard) == 1
