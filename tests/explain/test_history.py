from pathlib import Path

import msgspec

from scheduler.explain.history import (
    History,
    NodeName,
    make_history,
    read_record,
    services_of_classes,
)
from scheduler.explain.reading import attach
from scheduler.memory.decisions import read_decisions
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.protocol.ids import slot_of, wire_job_id
from tests.dispatch.desk import ASR, CORE, job, settings
from tests.explain.site import Site, make_site
from tests.stats.world import EPOCH

CONFIG = settings(
    scheduler={
        "load_balancer": {"shadow_strategy": "least_utilization"},
        "node_health": {"forget_after_seconds": 5},
    }
)


def history(site: Site) -> History:
    site.beat()
    with attach(site.folder) as running:
        return make_history(running, read_decisions(running.views))


def test_a_decision_is_told_with_names(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("node-A", name="one", capacity=2)
        site.desk.node("node-B", name="two", capacity=4)
        site.desk.place(5)
        found = history(site)
        assert (found.strategy, found.shadow_strategy) == ("least_connections", "least_utilization")
        (told,) = found.decisions
        assert told.job_id == wire_job_id(EPOCH, job(5))
        assert (told.number, told.attempt, told.outcome) == (0, 1, "placed")
        assert (told.node, told.load) == (NodeName("node-A", "one"), 0)
        assert (told.runner_up, told.runner_up_load) == (NodeName("node-B", "two"), 0)
        assert told.shadow == told.node
        assert told.services == sorted(CORE)
        assert (told.eligible, told.queued, told.excluded, told.paired) == (2, 0, {}, None)


def test_the_attempt_is_the_one_that_it_was_for(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        first, _ = site.desk.node("a", capacity=1), site.desk.node("b", capacity=1)
        assert site.desk.place(1) == first
        site.desk.place(2)
        site.desk.place(3)
        site.desk.fail(1, first, "NODE_OVERLOADED")
        told = [(one.outcome, one.attempt) for one in history(site).decisions]
        assert told == [
            ("placed", 1),
            ("placed", 1),
            ("queued", 1),
            ("queued", 2),
            ("served", 1),
        ]
        waited = history(site).decisions[3]
        assert (waited.node, waited.load, waited.runner_up_load) == (None, None, None)
        assert waited.excluded == {"failed_this_job": 1, "no_free_slot": 1}


def test_times_are_those_of_the_clock_on_the_wall(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("n", capacity=4)
        site.desk.place(1)
        site.desk.now_ns += 1_500_000_000
        site.desk.place(2)
        found = history(site)
        first, second = found.decisions
        assert second.at_ms - first.at_ms in {1_500, 1_501}  # cut to whole ms each
        assert found.record.oldest_at_ms is not None
        assert abs(found.record.oldest_at_ms - first.at_ms) <= 1_000


def test_a_node_that_another_has_replaced_is_gone(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        site.desk.finish(1, node)
        site.desk.lose(node)
        site.desk.tick(6)
        assert history(site).decisions[0].node == NodeName("n", "n")
        assert slot_of(site.desk.node("other")) == slot_of(node)
        (told,) = history(site).decisions
        assert told.node == NodeName(None, None)
        assert (told.load, told.outcome) == (0, "placed")


def test_services_are_not_guessed_where_an_earlier_dispatcher_decided(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("n", capacity=4)
        site.desk.place(1)
        site.world.put("processes", DISPATCHER_ROW, started_ns=site.desk.now_ns + 1)
        site.desk.now_ns += 2
        site.desk.place(2, requirement=0b001)
        assert [one.services for one in history(site).decisions] == [None, [ASR]]


def test_classes_are_told_by_their_services(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.place(1)
        site.desk.place(2, requirement=0b001)
        found = services_of_classes(site.world.reader_views())
        assert found[:3] == [sorted(CORE), [ASR], []]


def test_the_record_says_what_it_lacks(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.beat()
        assert read_record(site.world.reader_views()).oldest_at_ms is None
        site.desk.node("n", capacity=4)
        site.desk.place(1)
        site.desk.core._flow._decisions.budget = 0
        site.desk.place(2)
        site.beat()
        record = read_record(site.world.reader_views())
        assert (record.recorded_total, record.unrecorded_total) == (1, 1)


def test_it_reads_back_from_json(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("n")
        site.desk.place(1)
        found = history(site)
        assert msgspec.json.decode(msgspec.json.encode(found), type=History) == found
