"""The scheduler as it is, but for one limit: `... tests.chaos.launcher HARNESS_PID --config FILE`.

As shipped, five deaths of gateways and dispatchers within 30 s end the program; here they are what
it is about.
"""

import sys
from functools import partial
from pathlib import Path

from scheduler.config import load
from scheduler.ipc.runtime import die_with
from scheduler.supervisor.policy import Limits
from scheduler.supervisor.supervisor import run

DEATHS_MAX = 1_000_000


def main(harness_pid: str, _: str, config: str) -> int:
    die_with(int(harness_pid))
    path = Path(config)
    return run(load(path), reload=partial(load, path), limits=Limits(deaths_max=DEATHS_MAX))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
