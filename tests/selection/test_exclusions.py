from collections.abc import Callable

import pytest

from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import DrainNode, NodeServices
from tests.dispatch.desk import ASR, CORE, WHOLE, Desk, failure_of, settings

SHORT_WAIT = settings(scheduler={"job_timeout": {"pending_timeout_seconds": 1}})


def offline(desk: Desk) -> None:
    desk.lose(desk.node("n"))


def private(desk: Desk) -> None:
    desk.node("n", accept_public=False)


def draining(desk: Desk) -> None:
    desk.say(0, DrainNode(desk.node("n"), True, "update"))


def not_ready(desk: Desk) -> None:
    desk.node("n", healthy=False)


def not_installed(desk: Desk) -> None:
    desk.node("n", installed=[ASR])


def service_not_ready(desk: Desk) -> None:
    desk.node("n", ready=[ASR])


def model_not_available(desk: Desk) -> None:
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE")


def cpu_over_limit(desk: Desk) -> None:
    desk.usage(desk.node("n"), cpu=90.1)


def gpu_over_limit(desk: Desk) -> None:
    desk.usage(desk.node("n"), gpu=90.1)


def memory_over_limit(desk: Desk) -> None:
    desk.usage(desk.node("n"), memory=90.1)


def ejected(desk: Desk) -> None:
    node = desk.node("n", capacity=2)
    desk.tables.nodes.withheld[slot_of(node)] = 2
    desk.usage(node, external_jobs=2)


def full(desk: Desk) -> None:
    desk.usage(desk.node("n", capacity=3), external_jobs=3)


CASES: list[tuple[Exclusion, Callable[[Desk], None]]] = [
    (Exclusion.OFFLINE, offline),
    (Exclusion.PRIVATE, private),
    (Exclusion.DRAINING, draining),
    (Exclusion.NOT_READY, not_ready),
    (Exclusion.NOT_INSTALLED, not_installed),
    (Exclusion.SERVICE_NOT_READY, service_not_ready),
    (Exclusion.MODEL_NOT_AVAILABLE, model_not_available),
    (Exclusion.CPU_LIMIT, cpu_over_limit),
    (Exclusion.GPU_LIMIT, gpu_over_limit),
    (Exclusion.MEMORY_LIMIT, memory_over_limit),
    (Exclusion.EJECTED, ejected),
    (Exclusion.FULL, full),
]


@pytest.mark.parametrize(("reason", "make_it_so"), CASES)
def test_a_job_that_waited_in_vain_is_told_the_reason(
    reason: Exclusion, make_it_so: Callable[[Desk], None]
) -> None:
    desk = Desk(SHORT_WAIT)
    make_it_so(desk)
    desk.tick(0.5)
    assert desk.place(9) == NO_NODE
    code, exclusions = failure_of(desk.tick(1.0))
    assert code == "NO_AVAILABLE_NODE"
    assert exclusions == {reason.value: 1}


def test_a_node_that_failed_the_job_is_counted_as_such() -> None:
    desk = Desk(SHORT_WAIT)
    failed, busy = desk.node("failed"), desk.node("busy", capacity=1)
    assert desk.place(1) == failed
    assert desk.place(2) == busy
    desk.fail(1, failed, "NODE_OVERLOADED")
    _, exclusions = failure_of(desk.tick(1.0))
    assert exclusions == {Exclusion.FAILED_THIS_JOB.value: 1, Exclusion.FULL.value: 1}


def test_every_reason_has_its_case() -> None:
    assert {reason for reason, _ in CASES} | {Exclusion.FAILED_THIS_JOB} == set(Exclusion)


def test_each_node_counts_once_under_the_first_reason_that_holds() -> None:
    desk = Desk(SHORT_WAIT)
    overloaded = desk.node("overloaded", installed=[ASR], capacity=1)
    desk.usage(overloaded, cpu=99, external_jobs=5)
    desk.lose(desk.node("gone", accept_public=False))
    desk.tick(0.5)
    desk.submit(1)
    _, exclusions = failure_of(desk.tick(1.0))
    assert exclusions == {Exclusion.NOT_INSTALLED.value: 1, Exclusion.OFFLINE.value: 1}


def test_of_a_paired_job_only_its_node_is_looked_at() -> None:
    desk = Desk(SHORT_WAIT)
    desk.node("idle")
    mine = desk.node("mine", accept_public=False)
    desk.say(0, NodeServices(mine, CORE, [ASR]))
    assert desk.place(1, paired=mine) == NO_NODE
    _, exclusions = failure_of(desk.tick(1.0))
    assert exclusions == {Exclusion.SERVICE_NOT_READY.value: 1}


def test_figures_of_a_rows_last_occupant_exclude_nobody() -> None:
    desk = Desk(SHORT_WAIT)
    node = desk.node("n", capacity=1)
    desk.usage(node, cpu=99)
    desk.tables.nodes.usage_ref[:] = 0
    desk.place(1)
    desk.submit(2, requirement=WHOLE)
    _, exclusions = failure_of(desk.tick(1.0))
    assert exclusions == {Exclusion.FULL.value: 1}


def test_nodes_that_were_out_of_the_question_are_counted_with_a_sample() -> None:
    desk = Desk(SHORT_WAIT)
    node = desk.node("n", installed=[ASR])
    desk.lose(desk.node("gone"))
    for job in (1, 2):
        desk.submit(job)
        failure_of(desk.tick(1.0))
    totals = dict(zip(Exclusion, desk.tables.excluded_total.tolist(), strict=True))
    samples = dict(zip(Exclusion, desk.tables.excluded_samples.tolist(), strict=True))
    assert {reason: total for reason, total in totals.items() if total} == {
        Exclusion.NOT_INSTALLED: 2,
        Exclusion.OFFLINE: 2,
    }
    assert samples[Exclusion.NOT_INSTALLED] == [node, 0, 0, 0, 0]
    assert not any(samples[Exclusion.FULL])


def test_a_job_that_failed_for_another_reason_is_not_counted() -> None:
    desk = Desk(SHORT_WAIT)
    failed, busy = desk.node("failed"), desk.node("busy", capacity=1)
    assert desk.place(1) == failed
    assert desk.place(2) == busy
    desk.fail(1, failed, "NODE_OVERLOADED")
    code, _ = failure_of(desk.tick(1.0))
    assert code == "NODE_OVERLOADED"
    assert not desk.tables.excluded_total.any()
