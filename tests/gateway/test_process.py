"""A gateway as a process: sockets, pipes and memory are real, the dispatcher is the test."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.client import ClientConnection, connect

from scheduler.ipc.boot import BOOT_FAILURE_EXIT
from scheduler.ipc.channel import Channel
from scheduler.ipc.control import BootFailed, Drain, Drained, Link, Ready
from scheduler.protocol.records import Announce, AnnounceDone, Submit, ToDispatcher
from scheduler.supervisor.children import Child
from tests.children import Site, next_message, until, until_closed
from tests.gateway.cancelled import cancelled

INIT = (
    '{"type":"session_init","client_version":"1","platform":"web","src_lang":"en","tgt_lang":"es"}'
)
CHUNK = '{"type":"audio_chunk","seq":0,"is_final":true,"payload":"AAAA"}'


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def start(site: Site, *, incarnation: int = 0) -> Child:
    child = site.start("gateway", incarnation=incarnation)
    assert next_message(child) == Ready()
    return child


def link(site: Site, child: Child) -> Channel[ToDispatcher]:
    return site.link(child, Link("dispatcher", 0, 0), ToDispatcher)


@contextmanager
def speak(site: Site) -> Iterator[ClientConnection]:
    """Yield a session that has said something."""
    with connect(f"ws://127.0.0.1:{site.port}/ws/session") as socket:
        socket.send(INIT)
        assert "session_init_ack" in str(socket.recv(10))
        socket.send(CHUNK)
        yield socket


def counter(site: Site, name: str) -> int:
    return site.segment.views.counters("gateway_counters", 0).get(name)


def test_health_is_answered_on_the_public_port(site: Site) -> None:
    start(site)
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/health", timeout=10) as response:
        assert response.read() == b"OK"


def test_a_linked_dispatcher_is_told_everything_first(site: Site) -> None:
    child = start(site)
    first = link(site, child)
    assert until(first.receive) == [AnnounceDone()]
    with speak(site):
        (submit,) = until(first.receive)
        assert isinstance(submit, Submit)
        first.close()
        second = link(site, child)
        announced = until(second.receive)
        assert announced == [
            Announce(submit.job, submit.requirement, -1, -1, None, 0, -1, submit.flow),
            AnnounceDone(),
        ]


def test_it_serves_without_a_dispatcher_and_hands_over_later(site: Site) -> None:
    child = start(site)
    with speak(site):
        until(lambda: counter(site, "jobs_live") == 1)
        records = until(link(site, child).receive)
        assert [type(record) for record in records] == [Announce, AnnounceDone]


def test_its_successor_settles_the_jobs_it_left(site: Site) -> None:
    child = start(site)
    link(site, child)
    with speak(site):
        until(lambda: counter(site, "jobs_live") == 1)
        child.process.kill()
        child.process.wait()
    start(site, incarnation=1)
    assert counter(site, "jobs_live") == 0
    assert counter(site, "sessions") == 0
    assert counter(site, "jobs_cancelled_total") == counter(site, "jobs_accepted_total") == 1
    assert cancelled(site.segment.views) == {"gateway_lost": 1}


def test_its_successor_balances_the_counters_whenever_it_died(site: Site) -> None:
    row = site.segment.views.counters("gateway_counters", 0)
    for name, value in (("accepted", 5), ("completed", 2), ("failed", 1)):
        row.set(f"jobs_{name}_total", value)
    row.set("jobs_live", 1)  # killed between counting a job accepted and counting it live
    start(site, incarnation=1)
    assert counter(site, "jobs_cancelled_total") == 2
    assert cancelled(site.segment.views) == {"gateway_lost": 2}
    assert counter(site, "jobs_live") == 0


def test_draining_closes_idle_sessions_and_refuses_new_connections(site: Site) -> None:
    child = start(site)
    link(site, child)
    with connect(f"ws://127.0.0.1:{site.port}/ws/session") as socket:
        socket.send(INIT)
        socket.recv(10)
        child.send(Drain(5.0))
        assert next_message(child) == Drained()
        assert "SERVER_SHUTDOWN" in str(socket.recv(10))
    assert socket.close_code == 1012


def test_draining_does_not_wait_longer_than_it_may(site: Site) -> None:
    child = start(site)
    link(site, child)
    with speak(site) as socket:
        until(lambda: counter(site, "jobs_live") == 1)
        child.send(Drain(0.05))
        assert next_message(child) == Drained()
        assert "SERVER_SHUTDOWN" in str(socket.recv(10))
    until(lambda: counter(site, "jobs_cancelled_total") == 1)
    assert cancelled(site.segment.views) == {"shutdown": 1}


def test_it_ends_when_the_supervisor_hangs_up(site: Site) -> None:
    child = start(site)
    channel = link(site, child)
    with connect(f"ws://127.0.0.1:{site.port}/ws/node"):
        child.hang_up()
        assert child.process.wait(10) == 0
    until_closed(channel)


def test_memory_that_is_not_ours_is_a_boot_failure(site: Site) -> None:
    fd = os.memfd_create("foreign")
    os.write(fd, bytes(4096))
    child = site.start("gateway", segment_fd=fd)
    message = next_message(child)
    assert isinstance(message, BootFailed)
    assert "segment" in message.reason
    assert child.process.wait(10) == BOOT_FAILURE_EXIT
    os.close(fd)
