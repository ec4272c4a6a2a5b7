"""The dispatcher as a process: pipes, memory and control socket are real."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.ipc.boot import BOOT_FAILURE_EXIT
from scheduler.ipc.channel import Channel
from scheduler.ipc.control import BootFailed, Link, Ready
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import (
    PARTIAL_BYTES_MAX,
    Announce,
    AnnounceDone,
    Assign,
    CancelAttempt,
    Deliver,
    DrainNode,
    DrainRequested,
    NodeAccepted,
    NodeHealth,
    NodeStatusChanged,
    Partial,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
    ToGateway,
)
from scheduler.protocol.status import Status
from scheduler.supervisor.children import Child
from tests.children import Site, next_message, until, until_closed

SERVICES = ["node-inference", "nmt-m2m100", "piper-tts"]
JOB = job_key_base(0, 0) + 1


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(gateways=2)
    yield made
    made.close()


def start(site: Site, *, incarnation: int = 0) -> tuple[Child, list[Channel[ToGateway]]]:
    child = site.start("dispatcher", incarnation=incarnation)
    assert next_message(child) == Ready()
    links = [site.link(child, Link("gateway", index, 0), ToGateway) for index in range(2)]
    return child, links


def say(channel: Channel[ToGateway], *records: Any) -> None:
    channel.queue_all(records)
    assert channel.flush()


def hear(channel: Channel[ToGateway]) -> ToGateway:
    """Return the next record; nothing else may have come with it."""
    (record,) = until(channel.receive)
    return record  # type: ignore[no-any-return]


def join(channel: Channel[ToGateway], **fields: Any) -> int:
    record = RegisterNode(5, "node-1", "", 2, True, SERVICES, SERVICES, 8.0, 16.0, 0, 0.0, **fields)
    say(channel, record)
    accepted = hear(channel)
    assert isinstance(accepted, NodeAccepted)
    return accepted.node


def make_ready(channel: Channel[ToGateway]) -> int:
    node = join(channel)
    say(channel, NodeHealth(node, True, ""))
    hear(channel)
    return node


def counter(site: Site, name: str) -> int:
    return site.segment.views.counters("dispatcher_counters", 0).get(name)


def test_a_job_goes_through_and_is_counted_in_shared_memory(site: Site) -> None:
    _, (first, second) = start(site)
    node = make_ready(second)
    say(first, Submit(JOB, 7))
    assign = hear(second)
    assert isinstance(assign, Assign)
    assert (assign.job, assign.attempt, assign.node) == (JOB, 1, node)
    assert 0 < assign.submitted_ns <= assign.reserved_ns
    assert hear(first).__class__.__name__ == "Dispatched"
    until(lambda: counter(site, "in_flight") == 1)
    assert site.segment.views.column("nodes", "in_flight")[0] == 1
    say(second, Result(JOB, 1, node))
    assert hear(first) == Deliver(JOB, 1, node, None)
    until(lambda: counter(site, "completed_total") == 1)
    assert counter(site, "in_flight") == 0
    assert site.segment.views.column("nodes", "in_flight")[0] == 0


def test_it_shows_life_while_nothing_happens(site: Site) -> None:
    start(site)
    beats = site.segment.views.column("pulses", "heartbeat_ns")
    before = until(lambda: int(beats[1]))
    until(lambda: beats[1] > before)
    assert site.segment.views.column("pulses", "ready")[1] == 1


def test_a_gateway_that_is_gone_takes_its_nodes_and_jobs_with_it(site: Site) -> None:
    _, (first, second) = start(site)
    node = make_ready(second)
    say(first, Submit(JOB, 7))
    assert isinstance(hear(second), Assign)
    first.close()
    assert hear(second) == CancelAttempt(JOB, 1, node, "the session's gateway is gone")
    second.close()
    until(lambda: site.segment.views.column("nodes", "status")[0] == Status.OFFLINE)


def test_a_gateway_that_sends_garbage_is_taken_for_dead(site: Site) -> None:
    _, (first, second) = start(site)
    make_ready(second)
    os.write(second.write_fd, b"\xff\xff\xff\xff")
    until(lambda: site.segment.views.column("nodes", "status")[0] == Status.OFFLINE)
    make_ready(first)


def test_fresh_pipes_replace_those_of_a_gateway_before(site: Site) -> None:
    child, (first, _) = start(site)
    make_ready(first)
    again = site.link(child, Link("gateway", 0, 1), ToGateway)
    make_ready(again)


def test_a_new_dispatcher_goes_on_with_what_is_announced(site: Site) -> None:
    child, (first, second) = start(site)
    node = make_ready(second)
    say(first, Submit(JOB, 7))
    hear(second)
    child.process.kill()
    child.process.wait()
    _, (first, second) = start(site, incarnation=1)
    running = [RunningAttempt(JOB, 1)]
    assert join(second, announced=True, status=Status.READY, running=running) == node
    say(second, AnnounceDone())
    say(first, Announce(JOB, 7, -1, -1, None, 1, node), AnnounceDone())
    say(second, Result(JOB, 1, node))
    assert hear(first) == Deliver(JOB, 1, node, None)
    until(lambda: counter(site, "completed_total") == 1)
    assert counter(site, "nodes_registered_total") == 2  # counting went on


def test_a_gateway_that_is_behind_gets_no_partial_texts_and_all_else(site: Site) -> None:
    _, (first, second) = start(site)
    node = make_ready(second)
    say(first, Submit(JOB, 7))
    hear(second)
    hear(first)

    def send_text() -> bool:
        say(second, *[Partial(JOB, node, b"x" * PARTIAL_BYTES_MAX)] * 4)
        return counter(site, "partials_dropped_total") > 0

    until(send_text)
    say(second, Result(JOB, 1, node))
    last = None
    until(lambda: counter(site, "completed_total") == 1)
    while not isinstance(last, Deliver):
        *_, last = until(first.receive)
    assert last == Deliver(JOB, 1, node, None)


def test_it_ends_when_the_supervisor_hangs_up(site: Site) -> None:
    child, _ = start(site)
    child.hang_up()
    assert child.process.wait(10) == 0


def test_memory_that_is_not_ours_is_a_boot_failure(site: Site) -> None:
    fd = os.memfd_create("foreign")
    os.write(fd, bytes(4096))
    child = site.start("dispatcher", segment_fd=fd)
    message = next_message(child)
    assert isinstance(message, BootFailed)
    assert "segment" in message.reason
    assert child.process.wait(10) == BOOT_FAILURE_EXIT
    os.close(fd)


def test_operators_drain_nodes_over_a_pipe_of_their_own(site: Site) -> None:
    child, (first, _) = start(site)
    node = make_ready(first)
    commands = site.link(child, Link("stats", 0, 0), ToGateway)
    say(commands, DrainNode(node, True, "update"))
    status, request = until_two(first)
    assert status == NodeStatusChanged(node, Status.DRAINING, "update")
    assert request == DrainRequested(node, "drain", "update")
    until(lambda: site.segment.views.column("nodes", "status")[0] == Status.DRAINING)
    again = site.link(child, Link("stats", 0, 1), ToGateway)
    say(again, DrainNode(node, False, ""))
    status, request = until_two(first)
    assert status == NodeStatusChanged(node, Status.REGISTERING, "")


def test_no_other_record_is_taken_from_operators(site: Site) -> None:
    child, (first, _) = start(site)
    node = make_ready(first)
    commands = site.link(child, Link("stats", 0, 0), ToGateway)
    say(commands, NodeHealth(node, False, "a lie"))
    until_closed(commands)
    assert site.segment.views.column("nodes", "status")[0] == Status.READY
    say(first, Submit(JOB, 7))
    assert isinstance(hear(first), Assign)


def until_two(channel: Channel[ToGateway]) -> list[ToGateway]:
    """Return the next two records."""
    records: list[ToGateway] = []

    def heard() -> bool:
        records.extend(channel.receive())
        return len(records) >= 2

    until(heard)
    return records
