"""The runtime folder: one instance at a time, and what tools need to find it.

    supervisor.pid   who holds the folder
    endpoints.json   addresses, once all processes serve
    settings.json    what it runs with, but for secrets
    memory           link to the shared memory segment, for read-only tools
    gateway-0.sock   where gateways lead sockets to each other, of each one (ipc/relay_sockets.py)
    crashes          what was known when a child died (keeper.py); this one stays

The others go at exit. After a kill -9 they stay, and the next start replaces them. The lock is
on the folder itself: a lock file could not be removed without a race for the one after it.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from scheduler.config import Config, without_secrets
from scheduler.errors import StartError
from scheduler.ipc.relay_sockets import RELAY_SOCKETS

_DRAFT = ".new"
_PID_NAME = "supervisor.pid"
_ENDPOINTS_NAME = "endpoints.json"
_SETTINGS_NAME = "settings.json"
_MEMORY_NAME = "memory"

CRASHES_NAME = "crashes"
"""Of the folder with a bundle for each child that died."""

Document = TypeVar("Document", bound=Struct)


class Endpoints(Struct, frozen=True):
    """Where a running scheduler answers, as host:port."""

    public: str
    operations: str
    pid: int


class RuntimeDir:
    """The folder, locked for this process until `close`."""

    def __init__(self, path: Path) -> None:
        """Make the folder (mode 0700) where it doesn't exist, and lock it.

        Raises StartError when it isn't safely ours or another instance holds it.
        """
        self.path = path
        try:
            _make(path)
            self._lock_fd = _lock(path)
            self._forget()
            (path / _PID_NAME).write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise StartError(
                f"can't use the runtime folder {path}: {error.strerror}; "
                "set runtime_dir to a folder that this user may make and write to"
            ) from error

    def publish_memory(self, fd: int) -> None:
        """Let tools find the segment; the link opens only for this user, and while we run."""
        (self.path / _MEMORY_NAME).symlink_to(f"/proc/{os.getpid()}/fd/{fd}")

    def publish_endpoints(self, endpoints: Endpoints) -> None:
        """Write the addresses."""
        self._publish(_ENDPOINTS_NAME, endpoints)

    def publish_settings(self, config: Config) -> None:
        """Write the settings, so that tools reckon with those of the running scheduler."""
        self._publish(_SETTINGS_NAME, without_secrets(config))

    def _publish(self, name: str, document: Struct) -> None:
        """Write a file at one stroke, so that who finds it can read it: this user alone."""
        draft = self.path / f"{name}{_DRAFT}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(draft, flags, 0o600), "wb") as file:
            file.write(msgspec.json.encode(document))
        draft.replace(self.path / name)

    def close(self) -> None:
        """Remove what was published and let the next instance in."""
        self._forget()
        os.close(self._lock_fd)

    def _forget(self) -> None:
        files = (_ENDPOINTS_NAME, _SETTINGS_NAME)
        for name in (_PID_NAME, _MEMORY_NAME, *files, *(f"{name}{_DRAFT}" for name in files)):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.glob(RELAY_SOCKETS):
            path.unlink(missing_ok=True)


def read_endpoints(path: Path) -> Endpoints | None:
    """Return the addresses of the instance in the runtime folder `path`, None where none serves."""
    return _read(path / _ENDPOINTS_NAME, Endpoints)


def read_settings(path: Path) -> Config | None:
    """Return what the instance in the runtime folder `path` runs with, None where none runs."""
    return _read(path / _SETTINGS_NAME, Config)


def _read(path: Path, kind: type[Document]) -> Document | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return msgspec.json.decode(data, type=kind)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise StartError(f"{path} is a link; set runtime_dir to the folder itself")
    if found.st_uid != os.getuid():
        raise StartError(
            f"{path} belongs to user {found.st_uid}, this is user {os.getuid()}; "
            "set runtime_dir to a folder of this user's own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartError(f"others may write to {path}; run `chmod go-w {path}` or set runtime_dir")


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StartError(
            f"another instance runs in {path} (pid {_holder(path)}); stop it, or set runtime_dir "
            "to another folder"
        ) from None
    return fd


def _holder(path: Path) -> str:
    try:
        return (path / _PID_NAME).read_text().strip()
    except FileNotFoundError:  # between its lock and its file, or on its way out
        return "unknown"
