"""Where a snapshot goes once it is made. The default is this machine; others may follow."""

import os
from pathlib import Path
from typing import Protocol


class SnapshotStore(Protocol):
    """Keeps the last snapshot whole: who reads never sees a part of one."""

    def publish(self, data: bytes) -> None:
        """Replace the last snapshot. Raises OSError where it can't; the last one stays."""

    def latest(self) -> bytes | None:
        """Return the last snapshot, None before the first. Raises OSError where it can't."""


class MemoryStore:
    """For readers in this process."""

    def __init__(self) -> None:
        self._latest: bytes | None = None

    def publish(self, data: bytes) -> None:
        """Replace the last snapshot."""
        self._latest = data

    def latest(self) -> bytes | None:
        """Return the last snapshot, None before the first."""
        return self._latest


class FileStore:
    """For readers of a file, which is replaced by rename.

    It isn't synced to the disk: after a power failure nobody wants the figures from before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # The same name each time, so that one left by a kill is used up, and in the same
        # folder, since a rename across file systems isn't atomic.
        self._draft = path.with_name(f"{path.name}.new")

    def publish(self, data: bytes) -> None:
        """Replace the file. Raises OSError; the last good file stays."""
        try:
            self._draft.write_bytes(data)
            os.replace(self._draft, self._path)
        except OSError:
            self._draft.unlink(missing_ok=True)
            raise

    def latest(self) -> bytes | None:
        """Return what the file holds, None where there is none. Raises OSError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
