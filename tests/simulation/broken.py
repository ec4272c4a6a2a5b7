"""Cores with one fault each, and the promise that each of them breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from scheduler.dispatch import nodes
from scheduler.dispatch.flow import JobFlow
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.pairing import PairingDesk
from scheduler.dispatch.pending import Pending
from scheduler.dispatch.placement import Placement
from scheduler.dispatch.recovery import Recovery
from scheduler.protocol.records import Deliver, Discard


@dataclass(frozen=True)
class Fault:
    """`promise` is matched against the violation that the fault must lead to."""

    make: Callable[[pytest.MonkeyPatch], None]
    promise: str


def _leak_a_slot(patch: pytest.MonkeyPatch) -> None:
    release, calls = JobFlow._release, count(1)

    def leaking(flow: JobFlow, job: Job) -> Node:
        node = release(flow, job)
        if next(calls) % 20 == 0:
            node.jobs[job.key] = job
            flow._placement.rescore(node)
        return node

    patch.setattr(JobFlow, "_release", leaking)


def _deliver_twice(patch: pytest.MonkeyPatch) -> None:
    finish = JobFlow.finish

    def twice(flow: JobFlow, gateway: int, record: Any, now_ns: int) -> None:
        finish(flow, gateway, record, now_ns)
        for box in flow._outbox:
            box.extend(said for said in list(box) if isinstance(said, Deliver))

    patch.setattr(JobFlow, "finish", twice)


def _deliver_stale(patch: pytest.MonkeyPatch) -> None:
    def holding(flow: JobFlow, record: Any) -> Job | None:
        job = flow._jobs.get(record.job)
        return job if job is not None and job.node is not None else None

    patch.setattr(JobFlow, "_holding", holding)


def _exceed_capacity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Node, "has_free_slot", lambda _: True)


def _leave_scores_stale(patch: pytest.MonkeyPatch) -> None:
    rescore, calls = Placement.rescore, count(1)

    def sometimes(placement: Placement, node: Node) -> None:
        if next(calls) % 50:
            rescore(placement, node)

    patch.setattr(Placement, "rescore", sometimes)


def _ignore_cancels(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobFlow, "cancel", lambda *_: None)


def _let_the_queue_grow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pending, "is_full_for", lambda *_: False)


def _wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobFlow, "_expire_waiting", lambda *_: None)


def _forget_to_serve(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobFlow, "serve", lambda *_: None)


def _reuse_references(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(nodes, "generation_of", lambda _: 0)


def _reuse_codes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PairingDesk, "withdraw", lambda *_: None)


def _use_private_nodes(patch: pytest.MonkeyPatch) -> None:
    refit = Placement.refit

    def all_public(placement: Placement, node: Node) -> None:
        node.public = True
        refit(placement, node)

    patch.setattr(Placement, "refit", all_public)


def _lose_jobs_with_the_dispatcher(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recovery, "jobs", lambda _: iter(()))


def _keep_results(patch: pytest.MonkeyPatch) -> None:
    finish = JobFlow.finish

    def silent(flow: JobFlow, gateway: int, record: Any, now_ns: int) -> None:
        finish(flow, gateway, record, now_ns)
        box = flow._outbox[gateway]
        kept = [said for said in box if not isinstance(said, Discard)]
        box.clear()
        box.extend(kept)

    patch.setattr(JobFlow, "finish", silent)


def _retry_for_ever(patch: pytest.MonkeyPatch) -> None:
    def elsewhere(flow: JobFlow, job: Job, _node: Node, cause: Any, now_ns: int) -> None:
        job.cause = cause
        flow.place(job, now_ns)

    patch.setattr(JobFlow, "_try_elsewhere", elsewhere)


FAULTS = {
    "leak a slot": Fault(_leak_a_slot, "in-flight is what runs there|comes to rest"),
    "deliver twice": Fault(_deliver_twice, "only a job that was just given up gets"),
    "deliver stale results": Fault(_deliver_stale, "only from the attempt that holds the job"),
    "exceed capacity": Fault(_exceed_capacity, "no node holds more than its capacity"),
    "leave scores stale": Fault(_leave_scores_stale, "a score is|in-flight is|more than its"),
    "ignore cancels": Fault(_ignore_cancels, "submitted =|the jobs that are live|only a live job"),
    "let the queue grow": Fault(_let_the_queue_grow, "backlogs are bounded|the queue is bounded"),
    "wait for ever": Fault(_wait_for_ever, "comes to rest"),
    "forget to serve": Fault(_forget_to_serve, "who waits has to"),
    "reuse references": Fault(_reuse_references, "a reference stands for one node for ever"),
    "reuse codes": Fault(_reuse_codes, "a code pairs once|KeyError"),
    "use private nodes": Fault(_use_private_nodes, "private is private|public"),
    "lose jobs": Fault(_lose_jobs_with_the_dispatcher, "comes to rest"),
    "keep results": Fault(_keep_results, "each result is acknowledged"),
    "retry for ever": Fault(_retry_for_ever, "attempts are limited|no node gets a job it failed"),
}
