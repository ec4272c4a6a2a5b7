"""What figures depend on besides what was measured."""

import os
import platform
import subprocess
from pathlib import Path


def commit() -> str:
    """Return the commit that is checked out, with a mark where files differ from it."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # git is not installed
        return "unknown"
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Return cores, kernel and Python."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cores = len(os.sched_getaffinity(0))
    python = platform.python_version()
    return f"{cores} cores of {models[0]}, Linux {platform.release()}, Python {python}"
