from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from scheduler.config import LoadBalancerSettings
from scheduler.explain.verdicts import REASON_NAMES
from scheduler.explain.words import MEANINGS, STRATEGIES, Details, counted, listed, load_text
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import slot_of
from scheduler.protocol.records import DrainNode, NodeHealth
from scheduler.selection.scores import UTILIZATION_SCALE
from tests.dispatch.desk import ASR, CORE, NMT, Desk, settings
from tests.explain.site import make_site

CONFIG = settings(scheduler={"outlier_ejection": {"consecutive_failures": 1}})


def offline(desk: Desk) -> int:
    node = desk.node("n")
    desk.lose(node)
    return node


def private(desk: Desk) -> int:
    return desk.node("n", accept_public=False)


def draining(desk: Desk) -> int:
    node = desk.node("n")
    desk.say(0, DrainNode(node, True, "update"))
    return node


def registering(desk: Desk) -> int:
    return desk.node("n", healthy=False)


def degraded(desk: Desk) -> int:
    node = desk.node("n")
    desk.say(0, NodeHealth(node, False, "too hot"))
    return node


def not_installed(desk: Desk) -> int:
    return desk.node("n", installed=[ASR])


def not_ready(desk: Desk) -> int:
    return desk.node("n", ready=[ASR, NMT])


def marked(desk: Desk) -> int:
    node = desk.node("n")
    desk.place(1)
    desk.fail(1, node, "MODEL_NOT_AVAILABLE", service=NMT)
    return node


def cpu(desk: Desk) -> int:
    node = desk.node("n")
    desk.usage(node, cpu=92.5)
    return node


def gpu(desk: Desk) -> int:
    node = desk.node("n")
    desk.usage(node, gpu=91)
    return node


def memory(desk: Desk) -> int:
    node = desk.node("n")
    desk.usage(node, memory=99)
    return node


def ejected(desk: Desk) -> int:
    node = desk.node("n")
    desk.node("other")
    desk.place(1)
    desk.fail(1, node, "NODE_OVERLOADED")
    return node


def full(desk: Desk) -> int:
    node = desk.node("n", capacity=1)
    desk.place(1)
    return node


def full_by_its_own_work(desk: Desk) -> int:
    node = desk.node("n", capacity=3)
    desk.place(1)
    desk.usage(node, external_jobs=2)
    return node


CASES: list[tuple[Exclusion, Callable[[Desk], int], str]] = [
    (Exclusion.OFFLINE, offline, "for "),
    (Exclusion.PRIVATE, private, ""),
    (Exclusion.DRAINING, draining, "for "),
    (Exclusion.NOT_READY, registering, "registering for "),
    (Exclusion.NOT_READY, degraded, "degraded for "),
    (Exclusion.NOT_INSTALLED, not_installed, "nmt-m2m100, piper-tts"),
    (Exclusion.SERVICE_NOT_READY, not_ready, "piper-tts"),
    (Exclusion.MODEL_NOT_AVAILABLE, marked, "nmt-m2m100"),
    (Exclusion.CPU_LIMIT, cpu, "92.5 % > 90 %"),
    (Exclusion.GPU_LIMIT, gpu, "91 % > 90 %"),
    (Exclusion.MEMORY_LIMIT, memory, "99 % > 90 %"),
    (Exclusion.EJECTED, ejected, "1 time so far"),
    (Exclusion.FULL, full, "1 of 1"),
    (Exclusion.FULL, full_by_its_own_work, "1 of 3, 2 by its own work"),
]


@pytest.mark.parametrize(("reason", "make_it_so", "says"), CASES)
def test_it_says_what_exactly_excludes_a_node(
    tmp_path: Path, reason: Exclusion, make_it_so: Callable[[Desk], int], says: str
) -> None:
    with make_site(tmp_path, CONFIG) as site:
        row = slot_of(make_it_so(site.desk))
        site.desk.tick(0.2)
        seen = site.look()
        found = REASON_NAMES[site.judged(seen).found[row]]
        assert found == reason
        detail = Details(seen, LoadBalancerSettings()).of(row, found)
        assert detail.startswith(says)
        assert bool(detail) == bool(says)


def test_there_is_a_case_and_a_meaning_for_every_reason() -> None:
    assert {reason for reason, _, _ in CASES} | {Exclusion.FAILED_THIS_JOB} == set(Exclusion)
    assert set(MEANINGS) == set(REASON_NAMES) - {""}


def test_a_slow_start_is_remarked_on(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n", capacity=4, installed=CORE)
        site.desk.tables.nodes.withheld[slot_of(node)] = 3
        seen = site.look()
        details = Details(seen, LoadBalancerSettings())
        assert details.of(slot_of(node), "") == "3 withheld in slow start"
        seen.nodes.in_flight[slot_of(node)] = 1
        assert details.of(slot_of(node), "no_free_slot") == "1 of 4, 3 withheld in slow start"


def test_every_strategy_is_described() -> None:
    strategies = get_args(get_type_hints(LoadBalancerSettings)["strategy"])
    assert set(STRATEGIES) == set(strategies)


def test_loads_are_jobs_or_shares() -> None:
    assert load_text(1, "least_connections") == "1 job"
    assert load_text(1_200, "least_connections") == "1,200 jobs"
    assert load_text(UTILIZATION_SCALE // 4, "least_utilization") == "25 %"


def test_counts_are_put_into_a_sentence_the_greatest_first() -> None:
    assert listed({"offline": 2, "no_free_slot": 1_000}) == "1,000 no_free_slot, 2 offline"
    assert listed({}) == ""
    assert counted(0, "job") == "0 jobs"
