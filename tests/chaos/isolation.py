"""What only root can have: a network namespace whose link can be cut, and a disk that can be full.

Both are named after the harness's process, so that what a killed harness left is known and removed
by the next one.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

PREFIX = "lingua-chaos-"
DISK_BYTES = 256 << 10
"""A snapshot of the harness's nodes takes a tenth of it."""

_NAMESPACES = Path("/run/netns")
_MOUNTS = Path("/proc/mounts")
_TRIES = 20


class NotPossibleError(Exception):
    """The machine, or this user, can't have it; the text says why."""


def work_folder_prefix() -> str:
    """Return the start of the name of this harness's work folder."""
    return f"{PREFIX}{os.getpid()}-"


class Namespace:
    """A network namespace, joined to this one by a pair of virtual interfaces."""

    def __init__(self) -> None:
        """Make it; raises NotPossibleError."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise NotPossibleError("a network namespace needs root and iproute2")
        self.name = f"{PREFIX}{os.getpid()}"
        # Names of interfaces have at most 15 characters.
        self._outside, self._inside = f"lch{os.getpid()}o", f"lch{os.getpid()}i"
        try:
            _ip("netns", "add", self.name)
            self.address = self._join()
        except NotPossibleError:
            self.close()
            raise

    def _join(self) -> str:
        """Lay the link; return the address of our end."""
        peer = ("peer", "name", self._inside, "netns", self.name)
        _ip("link", "add", self._outside, "type", "veth", *peer)
        used = _ip("-o", "-4", "addr", "show")
        for offset in range(_TRIES):
            network = f"10.254.{(os.getpid() + offset) % 256}"
            if f" {network}." not in used:
                break
        _ip("addr", "add", f"{network}.1/30", "dev", self._outside)
        _ip("link", "set", self._outside, "up")
        _ip("-n", self.name, "addr", "add", f"{network}.2/30", "dev", self._inside)
        _ip("-n", self.name, "link", "set", "lo", "up")
        _ip("-n", self.name, "link", "set", self._inside, "up")
        return f"{network}.1"

    def command(self, command: list[str]) -> list[str]:
        """Return a command that runs another one inside, as the same process."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self, way: str) -> None:
        """Drop all packets between the two ends, or those from inside alone."""
        if way == "both ways":
            _ip("-n", self.name, "link", "set", self._inside, "down")
        else:
            _ip("-n", self.name, "route", "add", "blackhole", f"{self.address}/32")

    def heal(self, way: str) -> None:
        """Let packets through again."""
        if way == "both ways":
            _ip("-n", self.name, "link", "set", self._inside, "up")
        else:
            _ip("-n", self.name, "route", "del", "blackhole", f"{self.address}/32")

    def close(self) -> None:
        """Remove it; the interfaces go with it, once no process is inside."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class SmallDisk:
    """A file system of a few hundred KiB on `folder`."""

    def __init__(self, folder: Path) -> None:
        """Mount it; raises NotPossibleError."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            raise NotPossibleError("a file system of its own needs root and mount")
        self.folder = folder
        folder.mkdir()
        options = f"size={DISK_BYTES},mode=0700"
        _run("mount", "-t", "tmpfs", "-o", options, f"{PREFIX}{os.getpid()}", str(folder))

    def fill(self) -> None:
        """Take all the room there is."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"\0" * 4096)
            except OSError:
                return

    def empty(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)


def sweep() -> list[str]:
    """Remove what harnesses that are gone have left; return its names."""
    left = []
    for line in _MOUNTS.read_text().splitlines():
        path = line.split()[1]
        if _is_orphan(Path(path).parent.name):
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
            left.append(path)
    for entry in _NAMESPACES.glob(f"{PREFIX}*") if _NAMESPACES.exists() else ():
        if _is_orphan(entry.name):
            subprocess.run(["ip", "netns", "del", entry.name], capture_output=True, check=False)
            left.append(entry.name)
    return left


def _is_orphan(name: str) -> bool:
    found = re.fullmatch(rf"{PREFIX}(\d+)(-.*)?", name)
    return found is not None and not Path(f"/proc/{found[1]}").exists()


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
