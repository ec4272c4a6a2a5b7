"""Why there was no node is found out once for many like jobs, and counted once per job."""

from typing import Any

import pytest

from scheduler.dispatch import misses as module
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
from scheduler.selection.exclusions import look
from tests.dispatch.desk import Desk, settings

SHORT_WAIT = settings(scheduler={"job_timeout": {"pending_timeout_seconds": 1}})
FULL = list(Exclusion).index(Exclusion.FULL)


def test_a_storm_of_like_jobs_looks_at_the_table_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []

    def counting(*args: Any) -> Any:
        looks.append(args)
        return look(*args)

    monkeypatch.setattr(module, "look", counting)
    desk = Desk()
    desk.tick(1.0)
    for number in range(20):
        desk.place(number)
    assert len(looks) == 1
    desk.tick(0.1)
    desk.place(99)
    assert len(looks) == 2


def test_what_was_true_before_a_refresh_is_looked_at_anew() -> None:
    desk = Desk(SHORT_WAIT)
    node = desk.node("n", capacity=1)
    desk.place(1)
    desk.place(2)
    desk.tick(0.5)
    desk.lose(node)
    desk.tick(1.0)
    # Neither of the two that ended counts the node as full: it is gone by then.
    assert desk.tables.excluded_total[FULL] == 0
    assert desk.tables.excluded_total.sum() > 0


def test_jobs_refused_for_want_of_room_count_the_nodes_too() -> None:
    desk = Desk(settings(limits={"pending_per_class_max": 1}))
    desk.node("n", capacity=1)
    for number in range(4):
        desk.place(number)
    assert desk.counts.refused_queue_full_total == 2
    assert desk.tables.excluded_total[FULL] == 2


def test_only_jobs_that_end_count_the_nodes_that_were_excluded() -> None:
    desk = Desk(SHORT_WAIT)
    desk.node("n", capacity=1)
    desk.place(1)
    for number in (2, 3):
        desk.place(number)
    assert desk.tables.excluded_total.sum() == 0
    desk.tick(1.5)
    assert desk.tables.excluded_total[FULL] == 2


def samples(desk: Desk, reason: Exclusion) -> list[int]:
    refs: list[int] = desk.tables.excluded_samples[list(Exclusion).index(reason)].tolist()
    return [ref for ref in refs if ref]


def test_some_nodes_of_each_reason_are_kept_the_latest_first() -> None:
    desk = Desk(SHORT_WAIT, nodes=16)
    earlier = [desk.node(f"early-{number}", healthy=False) for number in range(3)]
    desk.place(1)
    desk.tick(1.5)
    assert samples(desk, Exclusion.NOT_READY) == earlier
    for node in earlier:
        desk.lose(node)
    later = [desk.node(f"late-{number}", healthy=False) for number in range(3)]
    desk.place(2)
    desk.tick(1.5)
    assert samples(desk, Exclusion.NOT_READY) == [*later, *earlier][:SAMPLES_MAX]
    assert samples(desk, Exclusion.OFFLINE) == earlier


def test_no_more_nodes_are_kept_than_are_told() -> None:
    desk = Desk(SHORT_WAIT, nodes=16)
    for number in range(SAMPLES_MAX + 2):
        desk.node(f"n-{number}", healthy=False)
    desk.place(1)
    desk.tick(1.5)
    assert len(set(samples(desk, Exclusion.NOT_READY))) == SAMPLES_MAX
