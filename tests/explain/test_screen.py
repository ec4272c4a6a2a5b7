from pathlib import Path

import pytest
from rich.console import Console

from scheduler.explain.ask import Ask
from scheduler.explain.explanation import Explanation
from scheduler.explain.screen import ExplanationScreen
from scheduler.memory.layout import DISPATCHER_ROW
from tests.dispatch.desk import ASR, settings
from tests.explain.site import Site, make_site


def printed(explanation: Explanation, width: int = 100) -> list[str]:
    console = Console(width=width, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(ExplanationScreen(explanation))
    return [line.rstrip() for line in capture.get().splitlines()]


def fill(site: Site) -> None:
    site.desk.node("node-A", name="alpha", capacity=4)
    site.desk.node("node-B", name="beta", capacity=4)
    site.desk.node("node-C", name="gamma", installed=[ASR])
    site.desk.place(1)


def test_it_says_where_the_job_would_go_and_why(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        fill(site)
        lines = printed(site.explain(Ask("en", "es")))
        assert lines == [
            "job        en → es, asr + nmt + tts",
            "needs      nmt-m2m100 + node-inference + piper-tts",
            "now        would go to beta (node-B): load 0 jobs, slots 0/4",
            "           of the 2 nodes that can take it, its load is the least",
            "runner-up  alpha (node-A): load 1 job, slots 1/4",
            "rule       least_connections: fewest jobs, then who was chosen longest ago",
            "room       2 of 3 nodes can take it, with 7 free slots",
            "queue      no job waits",
            "note       languages exclude no node: what a job needs follows from its stages "
            "and features",
            "",
            "why not                nodes  slots  such a node",
            "service_not_installed      1      2  lacks a service",
            "",
            "#  node     load   turn  slots  cpu  gpu  memory  remark",
            "1  beta   0 jobs  never    0/4  0 %  0 %     0 %",
            "2  alpha   1 job      1    1/4  0 %  0 %     0 %",
            "   gamma  0 jobs           0/2  0 %  0 %     0 %  service_not_installed: nmt-m2m100, "
            "piper-tts",
        ]


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_it_fits_any_terminal(tmp_path: Path, width: int) -> None:
    with make_site(tmp_path) as site:
        fill(site)
        site.desk.node("x" * 128, name="y" * 64)
        lines = printed(site.explain(Ask("en", "es")), width)
        assert max(map(len, lines)) <= width
        assert any(line.startswith("1") for line in lines)
        shown = " ".join(lines)
        assert ("node-A" in shown.partition("memory")[2]) == (width >= 130)


def test_without_a_node_it_says_what_follows(tmp_path: Path) -> None:
    config = settings(limits={"pending_per_class_max": 1})
    with make_site(tmp_path, config) as site:
        site.desk.node("node-C", installed=[ASR])
        text = "\n".join(printed(site.explain()))
        assert "would wait for a node, after 10 s fail with NO_AVAILABLE_NODE" in text
        assert "none of 1 node can take it" in text
        site.desk.place(1)
        text = "\n".join(printed(site.explain()))
        assert "would be refused with SERVER_BUSY" in text
        assert "1 job waiting for these services, 1 in all" in text
        assert "runner-up" not in text


def test_while_nothing_is_placed_the_choice_is_shown_all_the_same(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        fill(site)
        site.world.put("processes", DISPATCHER_ROW, pid=0)
        site.beat = lambda: None  # type: ignore[method-assign]
        lines = printed(site.explain())
        assert "now        would wait" in lines
        assert "choice     beta (node-B): load 0 jobs, slots 0/4" in lines


def test_a_paired_job_is_told_of_its_node_alone(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        fill(site)
        mine = site.desk.node("node-D", name="delta", accept_public=False)
        text = "\n".join(printed(site.explain(Ask(node="node-D"), paired=mine)))
        assert "paired with node-D" in text
        assert "looks at its node alone" in text
        assert "2 free slots on that node" in text
        assert "alpha" not in text
        assert "why not" not in text


def test_what_is_not_listed_is_counted(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        fill(site)
        assert printed(site.explain(nodes_max=2))[-1] == "… and 1 more; --top 0 shows all"
        assert not any("--top" in line for line in printed(site.explain()))


def test_without_any_node_there_is_no_table(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        lines = printed(site.explain(Ask(stages=("tts",), features=("speech_rate_control",))))
        assert lines[0] == "job        tts, speech_rate_control"
        assert lines[-1] == "queue      no job waits"


def test_names_from_peers_command_no_terminal(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n", name="\x1b[2Jclear")
        assert "\x1b" not in "\n".join(printed(site.explain()))


def test_utilization_is_shown_as_a_share(tmp_path: Path) -> None:
    config = settings(scheduler={"load_balancer": {"strategy": "least_utilization"}})
    with make_site(tmp_path, config) as site:
        fill(site)
        lines = printed(site.explain())
        assert "runner-up  alpha (node-A): load 25 %, slots 1/4" in lines
        assert any("smallest share of slots taken" in line for line in lines)
