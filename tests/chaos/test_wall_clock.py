import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.isolation import NotPossibleError
from tests.chaos.wall_clock import WallClock

HOUR = 3600.0
CLOCKS = """
import datetime, sys, time
for _ in sys.stdin:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    print(time.time(), time.time_ns() / 1e9, now, time.monotonic(), flush=True)
"""


def test_the_wall_clock_jumps_and_no_other(tmp_path: Path) -> None:
    try:
        clock = WallClock(tmp_path)
    except NotPossibleError as error:
        pytest.skip(str(error))
    with subprocess.Popen(
        clock.command([sys.executable, "-c", CLOCKS]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset in (0.0, HOUR, -HOUR, 0.0):
            clock.set(offset)
            before = time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            *walls, monotonic = map(float, process.stdout.readline().split())
            after = time.time(), time.monotonic()
            for wall in walls:
                assert before[0] - 0.001 <= wall - offset <= after[0] + 0.001
            assert before[1] <= monotonic <= after[1]
        process.stdin.close()
