"""The job desk answers for every job it accepted, once, and its counters always agree."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.errors import PeerError
from scheduler.gateway.gateway import Gateway
from scheduler.gateway.jobs import Job, JobDesk
from scheduler.gateway.shares import Share
from scheduler.gateway.splice import ResultTail
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE, gateway_of
from scheduler.protocol.records import Announce, ArenaRef, Deliver, Dispatched, Failed, PartialText
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import ARENA_BYTES, World

SHARE = Share(77, 2, 1)
TAIL = ResultTail(True, True, b',"x":1}')


class Owner:
    """A session that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def job_dispatched(self, job: Job) -> None:
        self.told.append(("dispatched", job.key))

    def job_partial(self, job: Job, message: bytes) -> None:
        self.told.append((message.decode(), job.key))

    def job_completed(self, job: Job, tail: ResultTail) -> None:
        assert tail == TAIL
        self.told.append(("completed", job.key))

    def job_failed(self, job: Job, failed: Failed) -> None:
        self.told.append((failed.code, job.key))


def desk_of(gateway: Gateway) -> JobDesk:
    return gateway._desk


def accept(world: World, owner: Owner, head: bytes = b"{") -> Job:
    desk = desk_of(world.gateways[0])
    job = desk.draft(owner, 0, "trace", 7, paired=NO_NODE, avoid=NO_NODE, share=SHARE)
    desk.accept(job, head)
    return job


def tell(world: World, record: Any) -> None:
    world.links[0].handlers[type(record)](record)


def balance(world: World) -> tuple[int, int]:
    counted = [
        world.count(f"jobs_{name}")
        for name in ("completed_total", "failed_total", "cancelled_total", "live")
    ]
    return world.count("jobs_accepted_total"), sum(counted)


def test_keys_belong_to_the_gateway_and_never_repeat(make_world: MakeWorld) -> None:
    world = make_world(gateways=2)
    desk = desk_of(world.gateways[1])
    keys = [desk.draft(Owner(), 0, "", 7, paired=-1, avoid=-1, share=SHARE).key for _ in range(3)]
    assert len(set(keys)) == 3
    assert {gateway_of(key) for key in keys} == {1}


def test_a_job_is_told_of_once_per_outcome(world: World) -> None:
    owner = Owner()
    job = accept(world, owner)
    tell(world, Dispatched(job.key, 1, 5))
    tell(world, Dispatched(job.key, 2, 6))
    tell(world, PartialText(job.key, b"hel"))
    world.gateways[0]._results.keep(job.key, 2, 6, TAIL, 0)
    tell(world, Deliver(job.key, 2, 6, None))
    tell(world, Deliver(job.key, 2, 6, None))
    tell(world, Failed(job.key, "X", "", 0, {}, b""))
    assert owner.told == [("dispatched", job.key), ("hel", job.key), ("completed", job.key)]
    assert balance(world) == (1, 1)


def test_text_counts_from_the_jobs_own_node_alone(world: World) -> None:
    owner = Owner()
    job = accept(world, owner)
    tell(world, Dispatched(job.key, 1, 5))
    desk_of(world.gateways[0]).partial(job.key, 6, b"forged")
    desk_of(world.gateways[0]).partial(job.key, 5, b"hel")
    assert owner.told == [("dispatched", job.key), ("hel", job.key)]


def test_a_lost_result_fails_the_job_rather_than_leaving_it_open(world: World) -> None:
    owner = Owner()
    job = accept(world, owner)
    tell(world, Deliver(job.key, 1, 6, ArenaRef(0, 0, 9, 99)))
    assert owner.told == [(ErrorCode.INTERNAL_ERROR, job.key)]
    assert world.count("payloads_lost_total") == 1


def test_a_result_for_a_job_that_was_given_up_is_still_taken_off_the_shelf(world: World) -> None:
    owner = Owner()
    job = accept(world, owner)
    world.gateways[0]._results.keep(job.key, 1, 6, TAIL, 0)
    desk_of(world.gateways[0]).cancel(job, Cancellation.SESSION_CLOSED)
    tell(world, Deliver(job.key, 1, 6, None))
    assert len(world.gateways[0]._results) == 0
    assert owner.told == []


def test_a_busy_dispatcher_refuses_before_anything_is_accepted(world: World) -> None:
    world.links[0].is_busy = True
    with pytest.raises(PeerError) as caught:
        accept(world, Owner())
    assert caught.value.code == ErrorCode.SERVER_BUSY
    assert caught.value.details is not None
    assert balance(world) == (0, 0)


def test_a_full_arena_refuses_before_anything_is_accepted(make_world: MakeWorld) -> None:
    world = make_world(gateways=2)
    with pytest.raises(PeerError) as caught:
        accept(world, Owner(), bytes(ARENA_BYTES))
    assert caught.value.code == ErrorCode.SERVER_BUSY
    assert balance(world) == (0, 0)


def test_the_bytes_of_a_job_are_freed_with_it(make_world: MakeWorld) -> None:
    world = make_world(gateways=2)
    job = accept(world, Owner(), b"x" * 1000)
    assert world.count("arena_used_bytes") > 1000
    desk_of(world.gateways[0]).cancel(job, Cancellation.SESSION_CLOSED)
    assert world.count("arena_used_bytes") == 0


def test_unfinished_jobs_can_be_announced(world: World) -> None:
    first, second = accept(world, Owner()), accept(world, Owner())
    tell(world, Dispatched(second.key, 1, 5))
    assert list(desk_of(world.gateways[0]).announcements()) == [
        Announce(first.key, 7, NO_NODE, NO_NODE, None, 0, NO_NODE, *SHARE),
        Announce(second.key, 7, NO_NODE, NO_NODE, None, 1, 5, *SHARE),
    ]


class DeskMachine(RuleBasedStateMachine):
    """Any order of outcomes, repeated and late ones among them, keeps the balance."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.owner = Owner()
        self.jobs: list[Job] = []
        self.live: set[int] = set()

    @rule()
    def accept(self) -> None:
        self.jobs.append(accept(self.world, self.owner))
        self.live.add(self.jobs[-1].key)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), outcome=st.sampled_from(["deliver", "lose", "fail", "cancel"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        was_live = job.key in self.live
        told = len(self.owner.told)
        if outcome == "deliver":
            self.world.gateways[0]._results.keep(job.key, 1, 6, TAIL, 0)
            tell(self.world, Deliver(job.key, 1, 6, None))
        elif outcome == "lose":
            tell(self.world, Deliver(job.key, 2, 6, None))
        elif outcome == "fail":
            tell(self.world, Failed(job.key, "X", "", 0, {}, b""))
        elif was_live:
            desk_of(self.world.gateways[0]).cancel(job, Cancellation.SESSION_CLOSED)
        self.live.discard(job.key)
        expected = 1 if was_live and outcome != "cancel" else 0
        assert len(self.owner.told) - told == expected

    @invariant()
    def the_counters_agree(self) -> None:
        accepted, accounted = balance(self.world)
        assert accepted == accounted == len(self.jobs)
        assert self.world.count("jobs_live") == len(self.live)
        by_code = self.world.segment.views.column("gateway_codes", "jobs_failed_by_code_total")
        assert self.world.count("jobs_failed_total") == by_code.sum()

    def teardown(self) -> None:
        self.world.close()


TestDeskMachine = DeskMachine.TestCase
TestDeskMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def test_the_age_of_the_oldest_job_is_shown(world: World) -> None:
    desk, owner = desk_of(world.gateways[0]), Owner()
    desk.sweep()
    assert world.count("oldest_job_ns") == 0
    first, second = accept(world, owner), accept(world, owner)
    desk.sweep()
    assert world.count("oldest_job_ns") == first.accepted_ns
    desk.cancel(first, Cancellation.SESSION_CLOSED)
    desk.sweep()
    assert world.count("oldest_job_ns") == second.accepted_ns


def test_a_job_that_outlives_every_deadline_fails(world: World) -> None:
    desk, owner = desk_of(world.gateways[0]), Owner()
    overdue, young = accept(world, owner), accept(world, owner)
    overdue.accepted_ns -= desk._lifetime_ns
    desk.sweep()
    assert owner.told == [("INTERNAL_ERROR", overdue.key)]
    assert world.count("jobs_overdue_total") == 1
    assert world.count("oldest_job_ns") == young.accepted_ns
    assert balance(world) == (2, 2)
    world.settle()
    assert world.core.counts.cancelled_total == 1


def test_a_job_lives_longer_than_all_its_attempts_may_take(world: World) -> None:
    timeouts = world.config.scheduler.job_timeout
    longest = timeouts.failover_max_attempts * (
        timeouts.pending_timeout_seconds + world.config.scheduler.job_timeout_seconds
    )
    assert desk_of(world.gateways[0])._lifetime_ns > longest * 1e9


def test_short_of_memory_nothing_new_is_taken_and_what_runs_is_finished(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak(0)
    world.contexts[0].is_short_of_memory = True
    session.speak(1)
    [refusal] = [m for m in session.heard() if m["type"] == "error"]
    assert (refusal["code"], refusal["details"]["utterance_index"]) == ("SERVER_BUSY", 1)
    [job] = node.jobs()
    node.answer(job)
    assert session.heard_types().count("translation_result") == 1
    other = world.session()
    [refusal] = other.wire.take()
    assert refusal["code"] == "SERVER_BUSY"
    world.contexts[0].is_short_of_memory = False
    session.speak(2)
    assert len(node.jobs()) == 1
