from pathlib import Path

import msgspec
import numpy as np

from scheduler.explain.ask import Ask
from scheduler.explain.explanation import Excluded, Explanation
from scheduler.protocol.ids import slot_of
from scheduler.selection.scores import INFINITE
from tests.dispatch.desk import ASR, CORE, settings
from tests.explain.site import make_site


def test_it_says_who_is_chosen_and_who_would_be_next(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        for name in ("a", "b", "c"):
            site.desk.node(name)
        site.desk.place(1)
        found = site.explain()
        assert found.chosen is not None
        assert found.runner_up is not None
        assert (found.chosen.node_id, found.runner_up.node_id) == ("b", "c")
        assert [(one.rank, one.node_id, one.load, one.turn) for one in found.nodes] == [
            (1, "b", 0, 0),
            (2, "c", 0, 0),
            (3, "a", 1, 1),
        ]
        assert (found.nodes_total, found.eligible, found.free_slots) == (3, 3, 5)
        assert (found.class_in_use, found.services) == (True, sorted(CORE))


def test_excluded_nodes_are_counted_with_what_they_would_bring(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("deaf", installed=[ASR], capacity=3)
        site.desk.lose(site.desk.node("gone", capacity=5))
        site.desk.place(1)
        found = site.explain()
        assert found.chosen is None
        assert found.excluded == {
            "offline": Excluded(1, 5),
            "service_not_installed": Excluded(1, 3),
        }
        assert [(one.rank, one.reason, one.status) for one in found.nodes] == [
            (None, "service_not_installed", "ready"),
            (None, "offline", "offline"),
        ]
        assert (found.queued, found.queued_total) == (1, 1)


def test_nodes_that_just_changed_are_counted_too(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        site.desk.tables.scores[0, slot_of(node)] = INFINITE
        found = site.explain()
        assert (found.unsettled, found.eligible) == (1, 0)
        assert found.excluded == {"just_changed": Excluded(1, 0)}


def test_a_bound_on_the_nodes_leaves_the_figures_as_they_are(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        for number in range(5):
            site.desk.node(f"n{number}")
        whole, first = site.explain(), site.explain(nodes_max=1)
        assert first.nodes == whole.nodes[:1]
        assert (first.nodes_total, first.runner_up) == (5, whole.nodes[1])
        assert len(site.explain(nodes_max=9).nodes) == 5


def test_usage_of_a_rows_last_node_is_not_this_ones(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        site.desk.usage(node, cpu=50, gpu=60, memory=70, external_jobs=1)
        (shown,) = site.explain().nodes
        assert (shown.cpu_percent, shown.gpu_percent, shown.memory_percent) == (50, 60, 70)
        assert shown.external_jobs == 1
        site.desk.tables.nodes.usage_ref[slot_of(node)] = 0
        (shown,) = site.explain().nodes
        assert (shown.cpu_percent, shown.gpu_percent, shown.memory_percent) == (0, 0, 0)
        assert (shown.external_jobs, shown.load) == (0, 0)


def test_of_a_paired_job_only_its_node_is_there_with_all_its_slots(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("other")
        mine = site.desk.node("mine", accept_public=False, capacity=4)
        site.desk.tables.nodes.withheld[slot_of(mine)] = 4  # from others, not from its session
        site.desk.place(1, paired=mine)
        found = site.explain(Ask(node="mine"), paired=mine)
        assert [one.node_id for one in found.nodes] == ["mine"]
        assert (found.nodes_total, found.eligible, found.free_slots) == (1, 1, 3)
        assert found.runner_up is None


def test_it_reads_back_from_json(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n")
        found = site.explain(Ask("en", "es", features=("emotion_detection",)))
        assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


def test_ten_thousand_nodes_are_one_pass(tmp_path: Path) -> None:
    rows = 10_000
    with make_site(tmp_path, settings(), nodes=rows) as site:
        first = site.desk.node("n", capacity=3)
        columns = site.desk.tables.nodes
        for name in ("status", "public", "capacity", "installed", "ready"):
            column = getattr(columns, name)
            column[:] = column[slot_of(first)]
        columns.node_id[:] = np.array([b"n%d" % row for row in range(rows)])
        columns.in_flight[:] = np.arange(rows) % 4
        found = site.explain()
        assert (found.nodes_total, found.eligible) == (rows, rows * 3 // 4)
        assert found.free_slots == rows // 4 * (3 + 2 + 1)
        assert [one.load for one in found.nodes] == sorted(one.load for one in found.nodes)
