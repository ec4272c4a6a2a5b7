"""Keeps a bundle of what was known when a child died, and only the newest of them."""

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scheduler.bundle.contents import collect
from scheduler.bundle.write import DRAFT_SUFFIX, write_archive
from scheduler.errors import BundleError, SchedulerError
from scheduler.ipc.runtime import die_with
from scheduler.supervisor.runtime_dir import CRASHES_NAME

_NAME = re.compile(r"\d{8}T\d{6}Z-[a-z0-9-]+\.tar\.gz")
"""As scheduler/supervisor/keeper.py gives them: sorted by name is sorted by time."""

_OOM_SCORE = Path("/proc/self/oom_score_adj")
_FIRST_TO_GO = "1000"


def keep(runtime_dir: Path, name: str, *, why: str, bundles_max: int) -> Path:
    """Write a bundle into the runtime folder and return its path; older ones may go for it.

    Raises LayoutError where no scheduler runs there, BundleError where it can't be written.
    """
    assert _NAME.fullmatch(name)
    assert bundles_max > 0
    folder = runtime_dir / CRASHES_NAME
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise BundleError(f"{folder} is a link; remove it")
        for draft in folder.glob(f".*{DRAFT_SUFFIX}"):  # of one that was killed; we are alone
            draft.unlink()
        bundle = collect(runtime_dir, why=why)
        path = folder / name
        write_archive(path, bundle.members, time_s=bundle.time_ns // 10**9)
        # Whatever the clock says: the one just written stays.
        others = sorted(o for o in folder.iterdir() if _NAME.fullmatch(o.name) and o != path)
        for old in others[: max(0, len(others) + 1 - bundles_max)]:
            old.unlink()
    except OSError as error:
        raise BundleError(f"{error.filename}: {error.strerror}") from error
    return path


def main(argv: Sequence[str]) -> int:
    """Do it as a process of its own, which the kernel ends with the supervisor.

    What goes wrong is said on the last line of standard error.
    """
    runtime_dir, name, why, bundles_max, supervisor_pid = argv
    die_with(int(supervisor_pid))
    # Where memory is what killed the child, this process must not cost another one its life.
    with suppress(OSError):
        _OOM_SCORE.write_text(_FIRST_TO_GO)
    try:
        keep(Path(runtime_dir), name, why=why, bundles_max=int(bundles_max))
    except SchedulerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
