"""Texts for sessions of other gateways: the latest of each job, so often and no more."""

import pytest

from scheduler.gateway.texts import TextRelay
from scheduler.protocol.records import Partial
from tests.gateway.world import PipelessLink, World

JOB, NODE = 7, 5


class Site:
    """A relay and what it has passed on."""

    def __init__(self, world: World) -> None:
        self.passed_on: list[tuple[int, bytes]] = []
        self.link = PipelessLink()
        self.link.send = self._send  # type: ignore[method-assign, assignment]
        self.relay = TextRelay(self.link, world.contexts[0].counters)  # type: ignore[arg-type]

    def _send(self, record: Partial) -> None:
        self.passed_on.append((record.job, record.message))

    def say(self, *texts: bytes, job: int = JOB) -> None:
        for text in texts:
            self.relay.pass_on(Partial(job, NODE, text))


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


def test_the_first_text_is_passed_on_at_once_and_then_the_latest(world: World, site: Site) -> None:
    site.say(b"a", b"b", b"c")
    assert site.passed_on == [(JOB, b"a")]
    site.relay.sweep()
    assert site.passed_on == [(JOB, b"a"), (JOB, b"c")]
    assert world.count("partials_dropped_total") == 1


def test_what_a_node_says_is_bounded_by_the_sweeps(site: Site) -> None:
    for _ in range(10):
        site.say(*[b"x"] * 1000)
        site.relay.sweep()
    assert len(site.passed_on) == 11


def test_jobs_do_not_hold_each_other_back_and_leave_nothing(site: Site) -> None:
    site.say(b"a")
    site.say(b"b", job=JOB + 1)
    assert len(site.passed_on) == 2
    site.relay.sweep()
    assert len(site.relay) == 0
    assert len(site.passed_on) == 2


def test_the_last_text_goes_before_the_result(site: Site) -> None:
    site.say(b"a", b"b")
    site.relay.finish(JOB)
    site.relay.finish(JOB)
    site.relay.sweep()
    assert site.passed_on == [(JOB, b"a"), (JOB, b"b")]


def test_while_the_dispatcher_is_behind_texts_are_dropped(world: World, site: Site) -> None:
    site.link.is_slow = True
    site.say(b"a", b"b")
    site.relay.sweep()
    assert site.passed_on == []
    assert world.count("partials_dropped_total") == 2
    site.link.is_slow = False
    site.relay.sweep()
    site.say(b"c")
    assert site.passed_on == [(JOB, b"c")]
