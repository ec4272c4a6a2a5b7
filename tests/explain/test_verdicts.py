"""Verdicts against the dispatcher's own placement, on random tables and after random events."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import event, given
from hypothesis import settings as run_with
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, DrawFn

from scheduler.config import Config
from scheduler.dispatch.nodes import Node
from scheduler.dispatch.placement import Placement, RequirementClass
from scheduler.dispatch.tables import Tables
from scheduler.explain.ask import Ask
from scheduler.explain.reading import NOT_KNOWN, turns_of
from scheduler.explain.verdicts import JUST_CHANGED, REASON_NAMES, Verdicts, judge
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE, node_ref, slot_of
from scheduler.protocol.records import DrainNode, NodeHealth, NodeServices
from scheduler.protocol.status import Status
from scheduler.selection.exclusions import ELIGIBLE, NO_ROW
from scheduler.selection.scores import INFINITE
from scheduler.selection.services import words_of
from tests.dispatch.desk import ASR, CORE, settings
from tests.explain.site import WHOLE, Site, make_site

STRATEGIES = ("least_connections", "least_utilization")


def config_of(strategy: str, **tables: object) -> Config:
    return settings(scheduler={"load_balancer": {"strategy": strategy}, **tables})


# --- random tables, straight into scheduler.dispatch.placement ----------------------------


@st.composite
def tables_of_nodes(draw: DrawFn) -> tuple[Tables, list[Node]]:
    """Rows as a dispatcher may leave them; a node's jobs are only counted, by their keys."""
    tables = Tables.allocate(nodes=12, classes=4)
    columns, nodes = tables.nodes, []
    rarely = st.sampled_from([False] * 9 + [True])
    masks = st.integers(0, 0b1111)
    for slot in range(12):
        status = draw(st.sampled_from([*[Status.READY] * 12, *Status]))
        node = Node(slot, node_ref(slot, draw(st.integers(1, 3))), f"n{slot}")
        columns.ref[slot] = node.ref
        if status == Status.FREE:
            continue
        node.status = status
        node.public = not draw(rarely)
        node.capacity = draw(st.integers(1, 5))
        node.installed = draw(masks) if draw(rarely) else 0b1111
        node.ready = node.installed & (draw(masks) if draw(rarely) else 0b1111)
        node.marked = draw(masks) if draw(rarely) else 0
        node.turn = draw(st.sampled_from([0, 0, 2 * slot + 1, 99 - slot]))
        node.external_jobs = draw(st.integers(0, 1))
        node.over_limit = draw(rarely)
        node.withheld = draw(st.sampled_from([0, 0, 0, node.capacity - 1, node.capacity]))
        busy = draw(st.integers(0, node.capacity)) if draw(st.booleans()) else 0
        node.jobs = dict.fromkeys(range(busy))  # type: ignore[assignment]
        columns.status[slot] = status
        columns.public[slot] = node.public
        columns.capacity[slot] = node.capacity
        columns.in_flight[slot] = len(node.jobs)
        columns.withheld[slot] = node.withheld
        columns.usage_ref[slot] = node.ref
        columns.external_jobs[slot] = node.external_jobs
        columns.cpu_percent[slot] = 91 if node.over_limit else 90
        for name in ("installed", "ready", "marked"):
            getattr(columns, name)[slot] = words_of(getattr(node, name))
        nodes.append(node)
    return tables, nodes


def in_use(tables: Tables, strategy: str, nodes: list[Node], mask: int) -> RequirementClass:
    placement = Placement(tables, strategy)
    placement.grow(len(tables.nodes.ref))
    return placement.class_of(mask, nodes)


def choices(tables: Tables, placement: Placement, service_class: RequirementClass) -> list[int]:
    """Return the slots that would be chosen one after the other, each passed over from then on."""
    chosen: list[int] = []
    while (slot := placement.choose(service_class, chosen)) >= 0:
        chosen.append(slot)
    return chosen


@given(tables_of_nodes(), st.sampled_from(STRATEGIES), st.integers(0, 0b1111))
def test_the_order_is_that_in_which_placement_would_choose(
    made: tuple[Tables, list[Node]], strategy: str, mask: int
) -> None:
    tables, nodes = made
    placement = Placement(tables, strategy)
    placement.grow(len(tables.nodes.ref))
    service_class = placement.class_of(mask, nodes)
    expected = choices(tables, placement, service_class)
    balance = config_of(strategy).scheduler.load_balancer
    turns = np.array([0] * len(tables.nodes.ref))
    for node in nodes:
        turns[node.slot] = node.turn
    scores = service_class.row
    for given_scores in (scores, None):  # as the dispatcher has them, and worked out
        verdicts = judge(tables.nodes, balance, words_of(mask), turns=turns, scores=given_scores)
        assert verdicts.order[: verdicts.eligible].tolist() == expected
        assert verdicts.unsettled == 0
        for slot in expected:
            assert verdicts.load[slot] == placement.load_of(_at(nodes, slot))
    event(f"{min(len(expected), 3)} can take it, or more")
    rest = verdicts.order[verdicts.eligible :]
    assert sorted([*expected, *rest.tolist()]) == sorted(node.slot for node in nodes)
    assert (turns_of(tables.scores[:1])[expected] == turns[expected]).all()


def _at(nodes: list[Node], slot: int) -> Node:
    return next(node for node in nodes if node.slot == slot)


@given(tables_of_nodes(), st.integers(0, 0b1111), st.data())
def test_of_a_paired_job_its_node_alone_is_judged_as_the_dispatcher_does(
    made: tuple[Tables, list[Node]], mask: int, data: DataObject
) -> None:
    tables, nodes = made
    if not nodes:
        return
    node = data.draw(st.sampled_from(nodes))
    verdicts = judge(
        tables.nodes,
        config_of(STRATEGIES[0]).scheduler.load_balancer,
        words_of(mask),
        turns=np.zeros(12, np.int64),
        scores=in_use(tables, STRATEGIES[0], nodes, mask).row,
        paired=node.ref,
    )
    assert verdicts.order.tolist() == [node.slot]
    # As JobFlow._choose_restricted asks.
    may = node.fits(mask) and node.has_slot_for_paired()
    assert verdicts.eligible == may
    assert (verdicts.found[node.slot] == ELIGIBLE) == may
    assert (np.delete(verdicts.found, node.slot) == NO_ROW).all()


# --- a whole core in shared memory, through random events ---------------------------------

EMOTION = "emotion"
ASKS = (WHOLE, Ask(stages=("asr",)), Ask(features=("emotion_detection",)))


class Story:
    """Events drawn at random; after each, what `explain` says is held against what is done."""

    def __init__(self, site: Site, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self.site, self.desk, self._draw = site, site.desk, draw
        self.nodes: dict[str, int] = {}
        self.running: dict[int, int] = {}
        self.jobs = 0
        for number in range(4):
            self.nodes[f"n{number}"] = self.desk.node(
                f"n{number}", capacity=1 + self.number(3), installed=[*CORE, EMOTION]
            )

    def number(self, most: int) -> int:
        return self._draw(st.integers(0, most))

    def rarely(self) -> bool:
        return self._draw(st.sampled_from([0] * 9 + [1])) == 1

    def some(self, things: list[str]) -> list[str]:
        chosen = self.number((1 << len(things)) - 1)
        return [thing for bit, thing in enumerate(things) if chosen >> bit & 1]

    def node(self) -> int:
        return list(self.nodes.values())[self.number(len(self.nodes) - 1)]

    def step(self) -> None:
        steps = [self.place] * 8
        if len(self.nodes) < 8:
            steps += [self.register] * 2
        if self.nodes:
            steps += [self.use, self.change_services, self.change_health, self.drain, self.lose]
        if self.running:
            steps += [self.finish] * 2 + [self.fail] * 2
        steps[self.number(len(steps) - 1)]()
        self.desk.tick(0.15)  # the dispatcher sees what nodes report ten times a second

    def register(self) -> None:
        node_id = f"n{self.number(7)}"
        if node_id in self.nodes:
            return
        services = [*CORE, EMOTION]
        self.nodes[node_id] = self.desk.node(
            node_id,
            capacity=1 + self.number(3),
            accept_public=not self.rarely(),
            installed=self.some(services) if self.rarely() else services,
            healthy=not self.rarely(),
        )

    def use(self) -> None:
        cpu = 95.0 if self.rarely() else 10.0
        self.desk.usage(self.node(), cpu=cpu, external_jobs=self.number(2))

    def change_services(self) -> None:
        installed = self.some([*CORE, EMOTION]) if self.rarely() else [*CORE, EMOTION]
        ready = self.some(installed) if self.rarely() else installed
        self.desk.say(0, NodeServices(self.node(), installed, ready))

    def change_health(self) -> None:
        self.desk.say(0, NodeHealth(self.node(), not self.rarely(), "so it says"))

    def drain(self) -> None:
        self.desk.say(0, DrainNode(self.node(), self.rarely(), "maintenance"))

    def lose(self) -> None:
        node_id = list(self.nodes)[self.number(len(self.nodes) - 1)]
        ref = self.nodes.pop(node_id)
        self.desk.lose(ref)
        self.running = {number: node for number, node in self.running.items() if node != ref}

    def finish(self) -> None:
        number, node = self._one_running()
        self.desk.finish(number, node)

    def fail(self) -> None:
        number, node = self._one_running()
        code = ("MODEL_NOT_AVAILABLE", "NODE_OVERLOADED")[self.number(1)]
        self.desk.fail(number, node, code, service=ASR)

    def _one_running(self) -> tuple[int, int]:
        number = list(self.running)[self.number(len(self.running) - 1)]
        return number, self.running.pop(number)

    def place(self) -> None:
        ask = ASKS[self.number(len(ASKS) - 1)]
        paired = self.node() if self.nodes and self.number(4) == 0 else NO_NODE
        seen = self.site.look(ask)
        verdicts = self.site.judged(seen, paired)
        assert verdicts.unsettled == 0
        first, second = self._best(verdicts)
        avoid = first if self.number(3) == 0 and paired == NO_NODE else NO_NODE
        self.jobs += 1
        went = self.desk.place(self.jobs, requirement=ask.requirement, paired=paired, avoid=avoid)
        if went != NO_NODE:
            self.running[self.jobs] = went
        if (verdicts.turn[verdicts.order[: verdicts.eligible]] == NOT_KNOWN).any():
            event("a turn isn't known")
            assert (went == NO_NODE) == (first == NO_NODE)
            if avoid == NO_NODE and went != NO_NODE:
                assert verdicts.load[slot_of(went)] == verdicts.load[slot_of(first)]
            return
        kind = "paired" if paired != NO_NODE else "spread" if avoid != NO_NODE else "any"
        event(f"{kind}: {'waits' if went == NO_NODE else 'placed'}")
        assert went == (first if NO_NODE in {avoid, second} else second)

    def _best(self, verdicts: Verdicts) -> tuple[int, int]:
        refs = self.desk.tables.nodes.ref
        best = [int(refs[row]) for row in verdicts.order[: verdicts.eligible][:2]]
        first, second = [*best, NO_NODE, NO_NODE][:2]
        return first, second


@run_with(max_examples=60)
@given(st.sampled_from(STRATEGIES), st.data())
def test_the_next_job_goes_where_it_is_said(strategy: str, data: DataObject) -> None:
    config = config_of(
        strategy,
        feature_services={"emotion_detection": [EMOTION]},
        outlier_ejection={"consecutive_failures": 2},
    )
    with TemporaryDirectory() as folder, make_site(Path(folder), config) as site:
        story = Story(site, data.draw)
        for _ in range(data.draw(st.integers(5, 40))):
            story.step()


# --- single cases ---------------------------------------------------------------------------


def test_names_stand_for_every_number() -> None:
    assert REASON_NAMES[: len(Exclusion)] == tuple(reason.value for reason in Exclusion)
    assert REASON_NAMES[ELIGIBLE] == ""
    assert len(REASON_NAMES) == JUST_CHANGED + 1


def test_who_is_excluded_follows_nearest_first(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.lose(site.desk.node("offline"))
        site.desk.node("deaf", installed=[ASR])
        full = site.desk.node("full", capacity=1)
        site.desk.place(1)
        site.desk.node("free")
        seen = site.look()
        order = site.judged(seen).order
        assert [seen.nodes.node_id[row] for row in order] == [b"free", b"full", b"deaf", b"offline"]
        assert site.desk.in_flight(full) == 1


def test_a_score_of_another_moment_than_the_figures_is_told_apart(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        early, late = site.desk.node("early"), site.desk.node("late")
        site.desk.place(1)
        seen = site.look()
        assert seen.scores is not None
        # The dispatcher has yet to see that one is over a limit, the other was until just now.
        seen.nodes.cpu_percent[slot_of(early)] = 99
        seen.nodes.usage_ref[slot_of(early)] = early
        seen.scores[slot_of(late)] = INFINITE
        verdicts = site.judged(seen)
        assert verdicts.unsettled == 2
        assert verdicts.found[[slot_of(early), slot_of(late)]].tolist() == [ELIGIBLE, JUST_CHANGED]
        assert verdicts.order.tolist() == [slot_of(early), slot_of(late)]
        assert verdicts.eligible == 1


def test_a_row_that_became_free_meanwhile_is_nobodys(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n")
        site.desk.place(1)
        seen = site.look()
        seen.nodes.status[:] = Status.FREE
        verdicts = site.judged(seen)
        assert (len(verdicts.order), verdicts.eligible, verdicts.unsettled) == (0, 0, 0)
