from pathlib import Path

import numpy as np
import pytest

from scheduler.errors import LayoutError
from scheduler.explain.ask import Ask
from scheduler.explain.reading import NOT_KNOWN, attach, look, turns_of
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.protocol.ids import slot_of
from scheduler.selection.scores import INFINITE, TURN_BITS
from tests.dispatch.desk import ASR, CORE, settings
from tests.explain.site import WHOLE, make_site

ASR_ONLY = Ask(stages=("asr",))


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="is the scheduler running"), attach(tmp_path):
        pass


def test_settings_that_are_missing_or_not_ours_are_said(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        path = site.folder / "settings.json"
        kept = path.read_bytes()
        for broken in (b'{"of": "another version"}', b"[", b"\xff"):
            path.write_bytes(broken)
            with pytest.raises(LayoutError, match="another version"), attach(tmp_path):
                pass
        path.unlink()
        with pytest.raises(LayoutError, match="is the scheduler running"), attach(tmp_path):
            pass
        path.write_bytes(kept)


def test_settings_are_those_of_the_scheduler_that_runs(tmp_path: Path) -> None:
    config = settings(scheduler={"load_balancer": {"cpu_limit": 12}}, gateways=2)
    with make_site(tmp_path, config), attach(tmp_path) as running:
        assert running.config.scheduler.load_balancer.cpu_limit == 12


def test_scores_are_those_of_the_class_once_it_is_in_use(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n")
        assert site.look().scores is None
        site.desk.place(1, requirement=ASR_ONLY.requirement)
        assert site.look().scores is None
        site.desk.place(2)
        scores = site.look().scores
        assert scores is not None
        assert scores[slot_of(node)] == INFINITE  # both slots are taken
        assert site.look(ASR_ONLY).services == [ASR]
        assert site.look().services == sorted(CORE)


def test_waiting_jobs_are_counted_by_class_and_in_all(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.place(1)
        site.desk.place(2)
        site.desk.place(3, requirement=ASR_ONLY.requirement)
        seen = site.look()
        assert (seen.queued, seen.queued_total) == (2, 3)


def test_turns_come_from_any_row_that_tells_them() -> None:
    def score(turn: int) -> int:
        return 5 << TURN_BITS | turn

    scores = np.array(
        [
            [score(3), INFINITE, INFINITE, score(0)],
            [INFINITE, score(9), INFINITE, score(0)],
        ]
    )
    assert turns_of(scores).tolist() == [3, 9, NOT_KNOWN, 0]


def test_before_any_class_is_in_use_nobody_has_had_a_turn() -> None:
    assert turns_of(np.zeros((0, 3), np.int64)).tolist() == [0, 0, 0]


def test_a_row_that_stays_torn_is_left_out_and_counted(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        torn = site.desk.node("torn")
        site.desk.node("whole")
        site.world.views.column("nodes", "row_sequence")[slot_of(torn)] += 1
        seen = site.look()
        assert seen.torn_rows == 1
        assert site.judged(seen).order.tolist() == [slot_of(torn) + 1]


def test_a_service_whose_id_the_dispatcher_can_not_keep_is_named(tmp_path: Path) -> None:
    long = "ä" * 64  # as many characters as may be, twice the bytes
    config = settings(scheduler={"core_services": {"tts_service_id": long}})
    with make_site(tmp_path, config) as site:
        node = site.desk.node("n", installed=CORE[:2])
        seen = site.look(WHOLE)
        assert seen.untracked == [long]
        assert site.judged(seen).order.tolist() == [slot_of(node)]
        assert site.desk.place(1) == node  # the dispatcher doesn't look at it either


def test_what_keeps_the_dispatcher_from_placing_is_said(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        assert site.look().trouble == ""
        site.world.put("processes", DISPATCHER_ROW, pid=0)
        with attach(tmp_path) as running:
            assert look(running, WHOLE.requirement).trouble == "dispatcher: not running"
