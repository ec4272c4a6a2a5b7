"""The ring tells how each node was chosen, up to a budget, and what another strategy would do."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch import decisions as module
from scheduler.memory.layout import DECISIONS, DECISIONS_MAX
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE
from tests.dispatch.desk import Desk, job, settings

UTILIZATION_IN_SHADOW = settings(
    scheduler={"load_balancer": {"shadow_strategy": "least_utilization"}}
)
SHORT_QUEUE = settings(
    limits={"pending_per_class_max": 1, "pending_total_max": 1},
    scheduler={"job_timeout": {"pending_timeout_seconds": 1}},
)


def recorded(desk: Desk) -> list[dict[str, Any]]:
    """Return the records in the order in which they were made."""
    columns = {
        column.name: np.asarray(getattr(desk.tables.decisions, column.name))
        for column in DECISIONS.columns
    }
    rows = np.argsort(columns["sequence"])
    rows = rows[columns["sequence"][rows] > 0]
    return [{name: values[row].tolist() for name, values in columns.items()} for row in rows]


def test_a_placed_job_is_recorded_with_the_choice_there_was() -> None:
    desk = Desk()
    busy, idle = desk.node("busy", capacity=4), desk.node("idle", capacity=4)
    desk.usage(busy, external_jobs=2)
    desk.usage(idle, external_jobs=1)
    desk.tick(1.0)
    desk.node("full", capacity=1)
    desk.place(1)
    desk.place(2)
    [_, record] = recorded(desk)
    assert record["job"] == job(2)
    assert record["attempt"] == 1
    assert record["outcome"] == Outcome.PLACED
    assert (record["node"], record["load"]) == (idle, 1)
    assert (record["runner_up"], record["runner_up_load"]) == (busy, 2)
    assert record["eligible"] == 2
    assert record["time_ns"] == desk.now_ns
    assert record["excluded"] == [0] * len(Exclusion)
    assert record["shadow"] == NO_NODE


def test_the_only_node_has_no_runner_up() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.place(1)
    [record] = recorded(desk)
    assert (record["node"], record["runner_up"], record["eligible"]) == (node, NO_NODE, 1)


def test_a_node_that_failed_the_job_is_no_runner_up() -> None:
    desk = Desk()
    first, second = desk.node("a"), desk.node("b")
    failing = desk.place(1)
    desk.fail(1, failing, "NODE_OVERLOADED")
    record = recorded(desk)[-1]
    assert (record["attempt"], record["node"]) == (2, second if failing == first else first)
    assert record["runner_up"] == NO_NODE


def test_a_job_that_waits_is_recorded_with_what_excluded_the_nodes() -> None:
    desk = Desk()
    node = desk.node("n", capacity=1)
    desk.place(1)
    desk.place(2)
    desk.finish(1, node)
    _, queued, served = recorded(desk)
    full = list(Exclusion).index(Exclusion.FULL)
    assert (queued["outcome"], queued["attempt"]) == (Outcome.QUEUED, 0)
    assert (queued["node"], queued["excluded"][full], queued["queued"]) == (NO_NODE, 1, 0)
    assert (served["outcome"], served["node"], served["job"]) == (Outcome.SERVED, node, job(2))


def test_refused_and_expired_jobs_are_recorded() -> None:
    desk = Desk(SHORT_QUEUE)
    desk.place(1)
    desk.place(2)
    desk.tick(2.0)
    assert [(r["job"], r["outcome"]) for r in recorded(desk)] == [
        (job(1), Outcome.QUEUED),
        (job(2), Outcome.REFUSED),
        (job(1), Outcome.EXPIRED),
    ]


def test_a_paired_job_is_recorded_without_rivals() -> None:
    desk = Desk()
    node = desk.node("mine", accept_public=False)
    desk.node("other")
    desk.usage(node, external_jobs=1)
    desk.tick(1.0)
    desk.place(1, paired=node)
    [record] = recorded(desk)
    assert (record["node"], record["paired"], record["load"]) == (node, node, 1)
    assert (record["runner_up"], record["eligible"]) == (NO_NODE, 1)


def test_the_ring_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET", 1 << 60)
    desk = Desk()
    desk.tick(1.0)
    node = desk.node("n")
    for number in range(1, DECISIONS_MAX + 3):
        desk.place(number)
        desk.finish(number, node)
    jobs = [record["job"] for record in recorded(desk)]
    assert jobs == [job(number) for number in range(3, DECISIONS_MAX + 3)]


def test_the_next_dispatcher_goes_on_in_the_ring() -> None:
    desk = Desk()
    desk.node("n")
    desk.place(1)
    later = Desk(tables=desk.tables, now_ns=desk.now_ns)
    later.node("m")
    later.place(2)
    assert [record["job"] for record in recorded(later)] == [job(1), job(2)]


def test_over_the_budget_decisions_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET", 1)
    desk = Desk()
    desk.tick(1.0)
    node = desk.node("n")
    for number in (1, 2):
        desk.place(number)
        desk.finish(number, node)
    counts = desk.counts
    assert (counts.decisions_recorded_total, counts.decisions_unrecorded_total) == (1, 1)
    desk.tick(1.0)
    desk.place(3)
    assert desk.counts.decisions_recorded_total == 2


def test_a_shadow_strategy_shows_where_it_would_differ() -> None:
    desk = Desk(UTILIZATION_IN_SHADOW)
    small, large = desk.node("small", capacity=2), desk.node("large", capacity=16)
    desk.usage(small, external_jobs=1)
    desk.usage(large, external_jobs=2)
    desk.tick(1.0)
    assert desk.place(1) == small
    [record] = recorded(desk)
    assert record["shadow"] == large
    counts = desk.counts
    assert (counts.shadow_compared_total, counts.shadow_differed_total) == (1, 1)


def test_a_choice_that_is_as_good_is_no_difference() -> None:
    desk = Desk(UTILIZATION_IN_SHADOW)
    desk.node("a"), desk.node("b")
    chosen = desk.place(1)
    [record] = recorded(desk)
    assert record["shadow"] == chosen
    counts = desk.counts
    assert (counts.shadow_compared_total, counts.shadow_differed_total) == (1, 0)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=2, max_size=8))
def test_recording_changes_no_choice(nodes: list[tuple[int, int]]) -> None:
    chosen = []
    for config in (settings(), UTILIZATION_IN_SHADOW):
        desk = Desk(config)
        refs = [desk.node(f"n{n}", capacity=c) for n, (c, _) in enumerate(nodes)]
        for ref, (_, external) in zip(refs, nodes, strict=True):
            desk.usage(ref, external_jobs=external)
        desk.tick(1.0)
        chosen.append([desk.place(number) for number in range(20)])
    assert chosen[0] == chosen[1]
