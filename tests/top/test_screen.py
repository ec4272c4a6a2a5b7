from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW, SUPERVISOR_ROW
from scheduler.top.frame import Order, make_frame
from scheduler.top.reading import Sample, Watcher
from scheduler.top.screen import KEYS_HELP, Screen, View, waiting
from tests.stats.world import World
from tests.top.looks import published

NODES = 8


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with published(tmp_path) as world:
        for slot in range(NODES):
            world.put_node(slot, f"id-{slot}", name=b"node-%d" % slot, capacity=4)
        for row in (SUPERVISOR_ROW, DISPATCHER_ROW, STATS_ROW, *range(FIRST_GATEWAY_ROW, 5)):
            world.beat(row)
        yield world


@pytest.fixture
def sample(world: World, tmp_path: Path) -> Iterator[Sample]:
    with closing(Watcher(tmp_path)) as watcher:
        yield watcher.look()


def printed(screen: Screen, width: int = 100, height: int = 40) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(screen)
    return [line.rstrip() for line in capture.get().splitlines()]


def screen_of(sample: Sample, view: View | None, trouble: str = "") -> Screen:
    return Screen(make_frame(None, sample), sample, view, trouble)


@pytest.mark.parametrize("width", [20, 44, 80, 120, 200])
@pytest.mark.parametrize("height", [3, 10, 24, 60])
def test_it_fills_any_terminal_exactly(sample: Sample, width: int, height: int) -> None:
    lines = printed(screen_of(sample, View()), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[-1][:6] == KEYS_HELP[:6]


def test_all_sections_are_there(sample: Sample) -> None:
    text = "\n".join(printed(screen_of(sample, View()), height=40))
    for part in ("jobs/s", "traffic", "latency, ms", "end to end", "queue  0 waiting", "gateway  "):
        assert part in text
    assert f"{NODES} ready" in text


def test_a_page_of_nodes_is_what_fits_and_the_last_one_is_full(sample: Sample) -> None:
    view = View(order=Order.NAME)
    whole = screen_of(sample, view)
    fits = next(
        h for h in range(10, 60) if f"node-{NODES - 1}" in "\n".join(printed(whole, 100, h))
    )
    printed(whole, 100, fits - 4)
    assert view.page == NODES - 4
    view.scroll(1_000)
    shown = printed(whole, 100, fits - 4)
    assert view.first == 4
    assert [line.split()[0] for line in shown if line.startswith("node-")] == [
        f"node-{number}" for number in range(4, NODES)
    ]
    assert f"rows 5-8 of {NODES}, by name" in "\n".join(shown)
    view.scroll(-1_000)
    assert view.first == 0


def test_once_shows_all_nodes_and_no_keys(sample: Sample) -> None:
    lines = printed(screen_of(sample, None), height=10)
    assert len([line for line in lines if line.startswith("node-")]) == NODES
    assert KEYS_HELP not in lines


def test_a_process_in_trouble_is_named(world: World, sample: Sample, tmp_path: Path) -> None:
    assert not any("not running" in line for line in printed(screen_of(sample, View())))
    world.put("processes", STATS_ROW, pid=0)
    with closing(Watcher(tmp_path)) as watcher:
        lines = printed(screen_of(watcher.look(), View()))
    assert "stats: not running" in lines


def test_old_figures_say_that_they_are_old(sample: Sample) -> None:
    assert printed(screen_of(sample, View(), "it is gone"))[0] == "it is gone"


def test_waiting_says_for_what() -> None:
    assert "/run/x/memory" in waiting("/run/x/memory", "\x1bno").plain
    assert "\x1b" not in waiting("/run/x/memory", "\x1bno").plain


def test_wrong_counts_of_load_are_an_alarm(world: World, tmp_path: Path) -> None:
    world.put("nodes", 3, audit_looks=30, in_flight=2)
    world.put("dispatcher_counters", 0, audit_freed_total=5)
    with closing(Watcher(tmp_path)) as watcher:
        text = "\n".join(printed(screen_of(watcher.look(), View())))
    assert "load counted wrongly: id-3" in text
    assert "load put right since the start: slots freed 5" in text


def test_a_true_load_is_not_worth_a_line(sample: Sample) -> None:
    text = "\n".join(printed(screen_of(sample, View())))
    assert "wrongly" not in text
    assert "put right" not in text


def test_on_a_low_terminal_the_sums_of_the_stages_come_first(sample: Sample) -> None:
    lines = printed(screen_of(sample, View()), height=24)
    at = next(i for i, line in enumerate(lines) if line.startswith("latency, ms"))
    assert lines[at + 1].startswith("end to end")
    assert lines[at + 2].startswith("dispatch")
