"""The unix sockets at which gateways find each other: `gateway-<index>.sock` in the runtime folder.

Only this user may open the folder, and the sockets. A gateway makes its own at its start, in the
place of one that was left, and removes it at its end.
"""

import os
import socket
from pathlib import Path

RELAY_SOCKETS = "gateway-*.sock*"
"""All of them as a glob pattern, drafts too."""


class RelaySockets:
    """The sockets in one folder, which is held open."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where `folder` can't be opened."""
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def listen(self, index: int) -> socket.socket:
        """Return the socket of a gateway, bound, for its server to listen at. Raises OSError."""
        name = _name(index)
        draft = f"{name}.new"
        self._remove(draft)
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.setblocking(False)
            listening.bind(self._address(draft))
            os.chmod(draft, 0o600, dir_fd=self._fd)
            os.rename(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            listening.close()
            raise
        return listening

    def connect(self, index: int) -> socket.socket:
        """Return a socket that is connected to a gateway.

        Raises FileNotFoundError or ConnectionRefusedError where it doesn't run, BlockingIOError
        where it is behind with accepting.
        """
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.setblocking(False)
            connected.connect(self._address(_name(index)))
        except OSError:
            connected.close()
            raise
        return connected

    def remove(self, index: int) -> None:
        """Remove a gateway's socket, where it is there."""
        self._remove(_name(index))

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return

    def _address(self, name: str) -> str:
        # By way of the open folder, for an address has 107 bytes and a folder's path may have more.
        return f"/proc/self/fd/{self._fd}/{name}"


def _name(index: int) -> str:
    return f"gateway-{index}.sock"
