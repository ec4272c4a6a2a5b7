import re
from pathlib import Path

import pytest
from rich.console import Console

from scheduler.explain.history import History, make_history
from scheduler.explain.history_screen import HistoryScreen
from scheduler.explain.reading import attach
from scheduler.memory.decisions import read_decisions
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.protocol.ids import wire_job_id
from tests.dispatch.desk import job, settings
from tests.explain.site import Site, make_site
from tests.stats.world import EPOCH

CONFIG = settings(
    scheduler={
        "load_balancer": {"shadow_strategy": "least_utilization"},
        "node_health": {"forget_after_seconds": 5},
    }
)


def history(site: Site, number: int | None = None) -> History:
    site.beat()
    key = None if number is None else job(number)
    with attach(site.folder) as running:
        decisions = read_decisions(running.views, job=key)
        return make_history(running, decisions, None if key is None else wire_job_id(EPOCH, key))


def printed(shown: History, width: int = 132) -> list[str]:
    console = Console(width=width, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(HistoryScreen(shown))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_one_jobs_decisions_are_told_at_length(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        node = site.desk.node("node-A", name="alpha", capacity=1)
        site.desk.place(1)
        site.desk.place(2)
        site.desk.node("node-B", name="beta", capacity=1)
        lines = printed(history(site, 2))
        assert lines[0] == f"{wire_job_id(EPOCH, job(2))}: 2 decisions"
        assert [line.partition("attempt")[1:] for line in lines if "attempt" in line] == [
            ("attempt", " 1: had to wait"),
            ("attempt", " 1: placed after it had waited"),
        ]
        rest = [" ".join(line.split()) for line in lines]
        for part in (
            "why 1 no_free_slot",
            "waiting 0 jobs at that moment",
            "node beta (node-B), load 0 jobs before this job",
            "runner-up none: no other node could take this job",
            "eligible 1 node for such a job",
            "shadow least_utilization would have chosen the same node",
            "needs nmt-m2m100 + node-inference + piper-tts",
        ):
            assert part in rest
        assert site.desk.in_flight(node) == 1


def test_after_a_failover_it_says_whom_the_count_includes(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        first, second = site.desk.node("first"), site.desk.node("second")
        assert site.desk.place(1) == first
        site.desk.fail(1, first, "NODE_OVERLOADED")
        assert site.desk.in_flight(second) == 1
        text = " ".join("\n".join(printed(history(site, 1))).split())
        assert "attempt 2: placed at once" in text
        assert "2 nodes for such a job, with those that had failed this one" in text


def test_a_paired_jobs_choice_is_told_to_be_none(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        mine = site.desk.node("mine")
        site.desk.node("other")
        site.desk.place(1, paired=mine)
        text = "\n".join(printed(history(site, 1)))
        assert "the session was paired with that node" in text
        assert "runner-up" not in text


def test_what_is_gone_or_not_known_is_said(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        site.desk.finish(1, node)
        site.desk.lose(node)
        site.desk.tick(6)
        site.desk.node("other")
        site.world.put("processes", DISPATCHER_ROW, started_ns=site.desk.now_ns + 1)
        text = "\n".join(printed(history(site, 1)))
        assert "a node that is gone, load 0 jobs" in text
        assert "not known: an earlier dispatcher decided" in text


def test_without_a_node_in_the_table_that_is_why(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.place(1)
        assert any("no node was registered" in line for line in printed(history(site, 1)))
        assert "queued   no node was registered" in printed(history(site))[1]


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_the_last_decisions_are_a_line_each(tmp_path: Path, width: int) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("node-A", name="a" * 20, capacity=1)
        site.desk.node("deaf", installed=["piper-tts"])
        site.desk.node("private", accept_public=False)
        site.desk.place(1)
        site.desk.place(2)
        head, placed, queued = printed(history(site), width)
        titles = "time job try outcome node, or why none"
        assert " ".join(head.split()).startswith(titles)
        assert max(map(len, (head, placed, queued))) <= width
        assert wire_job_id(EPOCH, job(1)) in placed
        assert " placed " in placed
        assert " queued " in queued
        assert "1\N{MULTIPLICATION SIGN}private" in queued
        assert ("runner-up" in head) == (width >= 130)
        assert ("shadow" in head) == (width >= 150)
        if width >= 150:
            assert placed.endswith("same")


def test_what_was_not_recorded_is_counted(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("n", capacity=4)
        site.desk.place(1)
        assert len(printed(history(site))) == 2
        site.desk.core._flow._decisions.budget = 0
        site.desk.place(2)
        said = "1 decisions of this run were beyond what may be recorded"
        assert printed(history(site))[-1] == said


def test_a_date_stands_where_it_is_not_todays(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.place(1)
        site.desk.now_ns += 3 * 86_400 * 10**9
        site.desk.place(2)
        _, today, later = printed(history(site), 200)
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", today.strip())
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", later)


def test_before_the_first_decision_it_says_so(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        (line,) = printed(history(site))
        assert line == "No decision is recorded yet: no job has come to the dispatcher."


def test_names_from_peers_command_no_terminal(tmp_path: Path) -> None:
    with make_site(tmp_path, CONFIG) as site:
        site.desk.node("n", name="\x1b[2Jclear")
        site.desk.place(1)
        for shown in (history(site), history(site, 1)):
            assert "\x1b" not in "\n".join(printed(shown))
