import subprocess
import sys

import msgspec

from scheduler.stress.driver import Driver
from scheduler.stress.messages import Task
from scheduler.stress.scenario import Kind, Talkers
from tests.sdk.scripted_peer import run_async
from tests.stress.samples import steady

NOWHERE = "ws://127.0.0.1:9/ws/session"


def task(**changes: object) -> Task:
    return Task(NOWHERE, steady(**changes), 0)


def test_who_can_not_connect_says_why_in_a_line() -> None:
    argument = msgspec.json.encode(task(sessions=3)).decode()
    ended = subprocess.run(
        [sys.executable, "-m", "scheduler.stress.driver", argument],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"can't connect to {NOWHERE}")
    assert len(ended.stderr.splitlines()) == 1


@run_async
async def test_drivers_divide_the_sessions() -> None:
    kinds = [Kind(name="a"), Kind(name="b")]
    whole = task(sessions=11, drivers=3, kinds=kinds, talkers=Talkers(sessions=7))
    drivers = [Driver(Task(NOWHERE, whole.scenario, number)) for number in range(3)]
    assert [driver.sessions for driver in drivers] == [(4, 3), (4, 2), (3, 2)]
