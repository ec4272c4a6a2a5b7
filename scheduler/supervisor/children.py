"""A child process: how it is spawned, linked to its peer, and ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import msgspec

from scheduler.config import CpuAffinitySettings
from scheduler.errors import ChannelError, StartError
from scheduler.ipc.boot import BootSpec, ChildId, ChildRole, write_boot
from scheduler.ipc.channel import make_pipes
from scheduler.ipc.control import Link, Message, make_control

Commands = Mapping[ChildRole, Sequence[str]]
"""How each role is started; the descriptor of its BootSpec is appended."""

COMMANDS: Commands = {
    "gateway": (sys.executable, "-m", "scheduler.gateway"),
    "dispatcher": (sys.executable, "-m", "scheduler.dispatch"),
    "stats": (sys.executable, "-m", "scheduler.stats"),
}

_ENVIRONMENT: Mapping[ChildRole, Mapping[str, str]] = {
    # What peers send and we hold goes back to the system when it is dropped. By default glibc
    # raises this bound to the largest block that was freed: twice the bytes held then stay in the
    # heap, in holes. A mapping for each costs time, so that 18 s of speech, in base64, stay below
    # it: with 320 KiB a job of 500 KB took 3.2 ms instead of 1.8. See mallopt(3).
    "gateway": {"MALLOC_MMAP_THRESHOLD_": str(768 << 10)},
}
"""For roles that need something in theirs; what the supervisor was given comes first."""


class Child:
    """A running child, as the supervisor holds it."""

    def __init__(self, command: Sequence[str], boot: BootSpec) -> None:
        """Start the process; `boot.control_fd` is filled in here. Raises StartError."""
        self.id = boot.child
        self.incarnation = boot.incarnation
        self.control, theirs = make_control()
        self.connected = True
        """We may still hear from it and speak to it."""
        boot = msgspec.structs.replace(boot, control_fd=theirs.fileno())
        boot_fd = write_boot(boot)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - the command is ours
                [*command, str(boot_fd)],
                stdin=subprocess.DEVNULL,
                env={**_ENVIRONMENT.get(self.id.role, {}), **os.environ},
                pass_fds=[boot_fd, *boot.inherited_fds],
                # Ctrl-C signals the terminal's whole process group: a child still importing
                # would die of it. In a session of its own it never gets it.
                start_new_session=True,
            )
            self.pidfd = os.pidfd_open(self.process.pid)
        except OSError as error:
            self.control.close()
            raise StartError(f"can't start {self.id}: {error}") from error
        finally:
            # The child's own end only: with a copy of it here we would never see the end of file.
            theirs.close()
            os.close(boot_fd)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send, or kill a child that no longer listens: whoever replaces it is told anew."""
        if not self.connected:
            return
        try:
            self.control.send(message, fds)
        except ChannelError:
            self.process.kill()

    def hang_up(self) -> None:
        """Close the control socket, on which the child exits."""
        self.connected = False
        self.control.close()

    def reap(self) -> int:
        """Wait for the end of the process, release what we held; return its exit code."""
        code = self.process.wait()
        self.hang_up()
        os.close(self.pidfd)
        return code


def link(child: Child, dispatcher: Child) -> None:
    """Connect a gateway, or stats, to the dispatcher by fresh pipes.

    What one had sent the other before is gone.
    """
    child_fds, dispatcher_fds = make_pipes()
    child.send(Link("dispatcher", 0, dispatcher.incarnation), child_fds)
    dispatcher.send(Link(child.id.role, child.id.index, child.incarnation), dispatcher_fds)
    for fd in (*child_fds, *dispatcher_fds):
        os.close(fd)


def exit_status(code: int) -> str:
    """Return a process's exit code as text, negative ones as the signal's name."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def cores_of(child: ChildId, settings: CpuAffinitySettings, available: set[int]) -> list[int]:
    """Return the cores `child` may run on: all available ones where its role has none set.

    Raises StartError for a core that this machine, or this process, doesn't have.
    """
    cores = allowed_cores(child.role, getattr(settings, child.role), available)
    if child.role == "gateway" and settings.gateway:
        return [settings.gateway[child.index % len(settings.gateway)]]
    return cores


def allowed_cores(role: str, configured: Sequence[int], available: set[int]) -> list[int]:
    """Return `configured`, or all available cores where it is empty; see `cores_of`."""
    missing = sorted(set(configured) - available)
    if missing:
        raise StartError(
            f"cpu_affinity.{role} names cores {missing}, but there are {sorted(available)}"
        )
    return list(configured) or sorted(available)
