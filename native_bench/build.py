"""Builds the programs in C, `native_bench/c`, where their sources are newer.

Each program is a folder of sources, together with those in `shared`.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scheduler.errors import ProgramError

SOURCES = Path(__file__).parent / "c"
FOLDER = Path(__file__).parent / "build"

FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-march=native")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
LIBRARIES = ("-lm", "-pthread")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
"""Further flags with which the tests build."""

_BUILD_SECONDS_MAX = 120.0


def driver_path() -> Path:
    """Return the driver that plays sessions and nodes, built."""
    return build("driver")


def relay_path() -> Path:
    """Return the bare relay, built."""
    return build("relay")


def kernels_path() -> Path:
    """Return the measurement of the machine's limits, built."""
    return build("kernels")


def build(program: str, folder: Path = FOLDER, flags: Sequence[str] = ()) -> Path:
    """Return the executable of a program in `folder`, built anew where a source is newer.

    `flags` are further ones of the compiler. Raises ProgramError with what the compiler says, or
    where there is none.
    """
    path = folder / program
    sources = [f for part in (program, "shared") for f in sorted((SOURCES / part).iterdir())]
    if path.exists() and path.stat().st_mtime >= max(f.stat().st_mtime for f in sources):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # Under another name first: who else builds or starts it meets a whole one.
    unfinished = folder / f"{program}.{os.getpid()}"
    _compile(
        [
            *(os.environ.get("CC", "cc"), *FLAGS, *WARNINGS, *flags),
            *("-I", str(SOURCES / "shared"), "-o", str(unfinished)),
            *(str(f) for f in sources if f.suffix == ".c"),
            *LIBRARIES,
        ]
    )
    unfinished.replace(path)
    return path


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS_MAX
        )
    except FileNotFoundError:
        raise ProgramError(
            f"no C compiler '{command[0]}'; install gcc, or name another with CC"
        ) from None
    except subprocess.TimeoutExpired:
        raise ProgramError(f"'{command[0]}' takes over {_BUILD_SECONDS_MAX:g} s") from None
    if done.returncode:
        raise ProgramError(f"{' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(build(name))
