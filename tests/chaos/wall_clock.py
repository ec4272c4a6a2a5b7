"""A wall clock that can jump, for the scheduler's processes alone.

The machine's own clock belongs to all its users, and time namespaces leave CLOCK_REALTIME alone.
So a small library, loaded before the C library, adds what a file says to each reading of it.
"""

import shutil
import struct
import subprocess
from pathlib import Path

from tests.chaos.isolation import NotPossibleError

SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """The library and its file, in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Build it; raises NotPossibleError."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotPossibleError("a clock of its own needs a C compiler")
        self._library, self._offset = folder / "wall_clock.so", folder / "wall_clock"
        flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
        command = [compiler, *flags, "-o", str(self._library), str(SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPossibleError(f"{' '.join(command)}: {done.stderr.strip()}")
        self.set(0.0)

    def command(self, command: list[str]) -> list[str]:
        """Return a command that runs another one under this clock, as the same process."""
        variables = (f"LD_PRELOAD={self._library}", f"LINGUA_CHAOS_CLOCK={self._offset}")
        return ["env", *variables, *command]

    def set(self, seconds: float) -> None:
        """Let it be so far from the machine's clock from now on."""
        mode = "r+b" if self._offset.exists() else "wb"
        with self._offset.open(mode, buffering=0) as file:  # in place: it is mapped
            file.write(struct.pack("=q", int(seconds * 1e9)))
