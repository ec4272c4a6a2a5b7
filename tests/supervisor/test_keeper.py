"""The keeper of bundles, with real processes in the place of the one that writes them."""

import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from scheduler.ipc.boot import ChildId
from scheduler.supervisor.keeper import INTERVAL_NS, NICENESS, RUN_NS_MAX, Keeper
from tests.harness import poll

DISPATCHER = ChildId("dispatcher")
WHY = "dispatcher (pid 7) ended: SIGKILL"

# argv: -c, folder, name, why, bundles_max, supervisor's pid
NOTES_ARGUMENTS = """
import os, sys
folder, name, why, bundles_max, pid = sys.argv[1:]
with open(f"{folder}/{name}", "w") as file:
    print(why, bundles_max, int(pid) == os.getppid(), os.getsid(0) == os.getpid(), file=file)
"""
SLEEPS = "import time; time.sleep(60)"
FAILS = "import sys; sys.exit('Traceback:\\nthe disk is full')"
LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1] + "/child", "w").write(str(child.pid))
"""


class Desk:
    """A keeper and the loop that it is called from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.selector = selectors.DefaultSelector()
        self.log: list[Any] = []
        self._keepers: list[Keeper] = []

    def keeper(self, code: str = SLEEPS, bundles_max: int = 8) -> Keeper:
        command = (sys.executable, "-c", code)
        self._keepers.append(Keeper(self.selector, self.folder, bundles_max, command))
        return self._keepers[-1]

    def turn(self, seconds: float = 0) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()

    def turn_until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            self.turn(0.01)
            return condition()

        poll("what the loop was to see", turned, seconds=30)

    def watched(self) -> int:
        return len(self.selector.get_map())

    def close(self) -> None:
        for keeper in self._keepers:
            keeper.close()
        self.selector.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with closing(Desk(tmp_path)) as desk, capture_logs() as desk.log:
        yield desk


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_the_process_is_told_what_to_keep_and_where(desk: Desk) -> None:
    keeper = desk.keeper(NOTES_ARGUMENTS, bundles_max=3)
    before = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    keeper.keep(ChildId("gateway", 2), WHY, now_ns=0)
    desk.turn_until(lambda: not desk.watched())
    (path,) = desk.folder.iterdir()
    moment, _, child = path.name.partition("-")
    assert child == "gateway-2.tar.gz"
    assert before <= moment <= time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    assert path.read_text() == f"{WHY} 3 True True\n"
    (line,) = desk.log
    assert (line["log_level"], line["event"]) == ("info", "bundle kept")
    assert line["path"] == str(desk.folder / "crashes" / path.name)


def test_it_takes_no_time_from_those_that_serve(desk: Desk) -> None:
    desk.keeper().keep(DISPATCHER, WHY, now_ns=0)
    (process,) = children()
    assert process.nice() == NICENESS


def test_there_is_one_at_a_time(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.keep(DISPATCHER, WHY, now_ns=0)
    keeper.keep(DISPATCHER, WHY, now_ns=2 * INTERVAL_NS)
    assert (len(children()), desk.watched()) == (1, 1)


def test_children_that_die_in_a_row_make_one_bundle_in_a_while(desk: Desk) -> None:
    keeper = desk.keeper(code="")
    for now_ns, started in ((0, 1), (1, 0), (INTERVAL_NS - 1, 0), (INTERVAL_NS, 1)):
        keeper.keep(DISPATCHER, WHY, now_ns)
        assert desk.watched() == started
        desk.turn_until(lambda: not desk.watched())
    assert len(desk.log) == 2


def test_it_starts_at_once_after_the_machine_did(desk: Desk) -> None:
    desk.keeper().keep(DISPATCHER, WHY, now_ns=1)  # the clock counts from there
    assert desk.watched() == 1


def test_none_are_kept_on_demand(desk: Desk) -> None:
    desk.keeper(bundles_max=0).keep(DISPATCHER, WHY, now_ns=0)
    assert (children(), desk.watched()) == ([], 0)


def test_one_that_takes_too_long_is_killed(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.keep(DISPATCHER, WHY, now_ns=5)
    keeper.look(5 + RUN_NS_MAX)
    (process,) = children()
    assert process.is_running()
    keeper.look(6 + RUN_NS_MAX)
    desk.turn_until(lambda: not desk.watched())
    keeper.look(7 + RUN_NS_MAX)
    (line,) = desk.log
    assert (line["log_level"], line["event"]) == ("warning", "bundle not kept")
    assert line["status"] == "SIGKILL"


def test_a_failure_is_one_line_that_says_why(desk: Desk) -> None:
    desk.keeper(FAILS).keep(DISPATCHER, WHY, now_ns=0)
    desk.turn_until(lambda: not desk.watched())
    (line,) = desk.log
    assert (line["log_level"], line["event"]) == ("warning", "bundle not kept")
    assert (line["status"], line["reason"]) == ("exit code 1", "the disk is full")
    assert line["name"].endswith("-dispatcher.tar.gz")


def test_a_process_that_cannot_be_started_is_one_line_too(desk: Desk) -> None:
    keeper = Keeper(desk.selector, desk.folder, 8, ("/nonexistent/command",))
    keeper.keep(DISPATCHER, WHY, now_ns=0)
    keeper.look(RUN_NS_MAX + 1)
    keeper.close()
    (line,) = desk.log
    assert line["event"] == "bundle not kept"
    assert "No such file" in line["reason"]


def test_nobody_waits_for_what_a_process_left_behind(desk: Desk) -> None:
    desk.keeper(LEAVES_A_CHILD).keep(DISPATCHER, WHY, now_ns=0)
    desk.turn_until(lambda: not desk.watched())
    assert [line["event"] for line in desk.log] == ["bundle kept"]
    os.kill(int((desk.folder / "child").read_text()), 9)


def test_the_end_of_the_scheduler_is_its_end(desk: Desk) -> None:
    keeper = desk.keeper()
    keeper.keep(DISPATCHER, WHY, now_ns=0)
    keeper.close()
    assert (children(), desk.watched(), desk.log) == ([], 0, [])
    keeper.close()
