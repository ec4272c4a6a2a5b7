"""Runs the supervisor over stand-ins: `run_stand_ins.py CONFIG LIMITS BEHAVIOURS REPORT`.

CONFIG is a TOML file, LIMITS and BEHAVIOURS are JSON.
"""

import sys
from functools import partial
from pathlib import Path

import msgspec

from scheduler.config import load
from scheduler.errors import StartError
from scheduler.ipc.boot import ChildRole
from scheduler.supervisor.policy import Limits
from scheduler.supervisor.supervisor import run

ROLES: tuple[ChildRole, ...] = ("gateway", "dispatcher", "stats")


def main(config: str, limits: str, behaviours: str, report: str) -> int:
    loaded = load(config, {})
    stand_in = (sys.executable, str(Path(__file__).with_name("stand_in.py")), behaviours, report)
    try:
        return run(
            loaded,
            reload=partial(load, config, {}),
            commands=dict.fromkeys(ROLES, stand_in),
            limits=msgspec.json.decode(limits, type=Limits),
        )
    except StartError as error:
        sys.stderr.write(f"StartError: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
