"""What would become of a job, held against what a real core does with it."""

from pathlib import Path
from typing import Any

import pytest

from scheduler.explain.ask import Ask
from scheduler.explain.outlook import Outlook
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.protocol.ids import NO_NODE, slot_of
from scheduler.protocol.records import Failed
from tests.dispatch.desk import ASR, Desk, every, settings
from tests.explain.site import WHOLE, Site, make_site

ASR_ONLY = Ask(stages=("asr",))
SMALL_QUEUE: dict[str, Any] = {
    "limits": {"pending_per_class_max": 1, "pending_total_max": 2},
    "scheduler": {"job_timeout": {"pending_timeout_seconds": 7}},
}


def outlook(site: Site, ask: Ask = WHOLE, paired: int = NO_NODE) -> Outlook:
    return site.explain(ask, paired=paired).outlook


def test_the_only_node_that_can_gets_it(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n")
        site.desk.node("deaf", installed=[ASR])
        assert outlook(site) == Outlook("placed", "no other node can take it")


def test_the_least_load_decides(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("a")
        site.desk.node("b")
        site.desk.place(1)
        because = "of the 2 nodes that can take it, its load is the least"
        assert outlook(site) == Outlook("placed", because)


def test_of_equals_the_turn_decides(tmp_path: Path) -> None:
    among = "of the 3 nodes with the least load"
    with make_site(tmp_path) as site:
        nodes = [site.desk.node(name) for name in "abc"]
        said = [outlook(site).because]
        for number in range(3):
            site.desk.finish(number, site.desk.place(number))
            said.append(outlook(site).because)
        assert len(nodes) == 3
        assert said == [
            f"{among} none was chosen yet; it is the first in the table",
            f"{among} 2 were never chosen yet; it is the first of them in the table",
            f"{among} it alone was never chosen yet",
            f"{among} it was chosen longest ago",
        ]


def test_a_turn_that_is_not_known_is_not_claimed(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("deaf-a", installed=[ASR])
        site.desk.node("deaf-b", installed=[ASR])
        site.desk.place(1)  # waits; brings the whole pipeline's class into use
        assert "unless it was chosen for jobs of another kind" in outlook(site, ASR_ONLY).because


def test_without_any_node_a_job_waits(tmp_path: Path) -> None:
    with make_site(tmp_path, settings(**SMALL_QUEUE)) as site:
        assert outlook(site) == Outlook("waits", "no node is registered", 7)


def test_why_none_can_take_it_is_counted(tmp_path: Path) -> None:
    with make_site(tmp_path, settings(**SMALL_QUEUE)) as site:
        for name in ("a", "b"):
            site.desk.node(name, installed=[ASR])
        site.desk.node("full", capacity=1)
        site.desk.place(1)
        because = "no node can take it: 2 service_not_installed, 1 no_free_slot"
        assert outlook(site) == Outlook("waits", because, 7)


def refused(desk: Desk, number: int, requirement: int) -> bool:
    return bool(every(Failed, desk.submit(number, requirement=requirement)))


@pytest.mark.parametrize(
    ("waiting", "limit"),
    [([WHOLE], "pending_per_class_max"), ([WHOLE, ASR_ONLY], "pending_total_max")],
)
def test_a_full_queue_refuses(tmp_path: Path, waiting: list[Ask], limit: str) -> None:
    with make_site(tmp_path, settings(**SMALL_QUEUE)) as site:
        site.desk.node("mute", installed=["piper-tts"])
        for number, ask in enumerate(waiting):
            assert outlook(site, ask).action == "waits"
            assert not refused(site.desk, number, ask.requirement)
        found = outlook(site)
        assert found.action == "refused"
        assert found.because.startswith("no node can take it: 1 service_not_installed; ")
        assert f"(limits.{limit})" in found.because
        assert refused(site.desk, 9, WHOLE.requirement)


def test_a_paired_job_goes_to_its_node_or_waits_for_it(tmp_path: Path) -> None:
    with make_site(tmp_path, settings(**SMALL_QUEUE)) as site:
        site.desk.node("idle")
        mine = site.desk.node("mine", accept_public=False, capacity=1)
        ask = Ask(node="mine")
        assert outlook(site, ask, mine).action == "placed"
        assert site.desk.place(1, paired=mine) == mine
        because = "its node can't take it: no_free_slot (1 of 1)"
        assert outlook(site, ask, mine) == Outlook("waits", because, 7)
        assert site.desk.place(2, paired=mine) == NO_NODE


def test_while_the_dispatcher_is_gone_a_job_waits(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n")
        seen = site.look()
        site.world.put("processes", DISPATCHER_ROW, pid=0)
        site.beat = lambda: None  # type: ignore[method-assign]
        assert not seen.trouble
        because = "nothing is placed meanwhile: dispatcher: not running"
        assert outlook(site) == Outlook("waits", because)


def notes(site: Site, ask: Ask = WHOLE, paired: int = NO_NODE) -> str:
    return "\n".join(site.explain(ask, paired=paired).notes)


def test_languages_are_said_to_exclude_no_node_where_they_are_given(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        assert notes(site) == ""
        for ask in (Ask(src_lang="en"), Ask(tgt_lang="es"), Ask("en", "es", node="n")):
            said = notes(site, ask, node if ask.node else NO_NODE)
            assert said.startswith("languages exclude no node")
            assert len(said.splitlines()) == 1


def test_a_class_that_is_not_in_use_is_said_to_be_worked_out(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        assert notes(site) == ""
        node = site.desk.node("n")
        assert "no job has asked for these services" in notes(site)
        assert notes(site, Ask(node="n"), node) == ""
        site.desk.place(1)
        assert notes(site) == ""


def test_spreading_is_said(tmp_path: Path) -> None:
    spread = {"spread_enabled": True, "spread_window_seconds": 12}
    with make_site(tmp_path, settings(scheduler={"task_binding": spread})) as site:
        assert "within 12 s of its last one" in notes(site)


def test_what_changed_meanwhile_is_said(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        site.desk.place(1)
        site.world.views.column("nodes", "row_sequence")[slot_of(node)] += 1
        assert notes(site) == "1 node changed while this was read; look again"
