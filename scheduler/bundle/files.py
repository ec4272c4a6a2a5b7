"""Files that go along: the ends of logs, and whole ones of a bounded size.

What is no file, as a named pipe in the place of one, is refused and never waited for.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from scheduler.errors import BundleError

TAIL_BYTES_MAX = 1 << 20


def read_tail(path: Path) -> str:
    """Return the last whole lines of a file, at most TAIL_BYTES_MAX.

    A line cut at its beginning is left out: what makes a secret known as one may be missing.
    Raises BundleError where there is no such file.
    """
    with _opened(path) as file:
        cut = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES_MAX)
        # One byte more tells whether the cut is between two lines.
        file.seek(max(0, cut - 1))
        data = file.read(TAIL_BYTES_MAX + 1)
    if cut:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")


def read_whole(path: Path, bytes_max: int) -> bytes:
    """Return what is in a file; raise BundleError where there is none, or more than that."""
    with _opened(path) as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise BundleError(f"{path} is longer than {bytes_max} bytes")
    return data


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleError(f"{path} is no file")
            yield file
    except OSError as error:
        raise BundleError(f"can't read {path}: {error.strerror}") from error


def _open(path: str, flags: int) -> int:
    # A named pipe would let nobody in before it has a writer.
    return os.open(path, flags | os.O_NONBLOCK)
