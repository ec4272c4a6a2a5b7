"""What a child process is told at its start: one JSON document in a memfd.

Not on the command line or in the environment, where every user of the machine could read the
configuration, tokens included.
"""

import os
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import Struct

from scheduler.config import Config
from scheduler.identity.credentials import Credentials
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, STATS_ROW, Dimensions

BOOT_FAILURE_EXIT = 78
"""EX_CONFIG of sysexits.h. A child's, and then the program's: no restart would help."""

ChildRole = Literal["gateway", "dispatcher", "stats"]


@dataclass(frozen=True, slots=True)
class ChildId:
    """Which child: of gateways there are several, of the others one with index 0."""

    role: ChildRole
    index: int = 0

    def __str__(self) -> str:
        return f"gateway {self.index}" if self.role == "gateway" else self.role

    @property
    def row(self) -> int:
        """The child's row of the blocks that have one for each process."""
        if self.role == "gateway":
            return FIRST_GATEWAY_ROW + self.index
        return DISPATCHER_ROW if self.role == "dispatcher" else STATS_ROW


class BootSpec(Struct, frozen=True, kw_only=True):
    """Who the child is and which descriptors it inherited.

    `incarnation` counts the starts of this role and index before this one. `cores` are those
    the child may run on. `arena_fds` are in the order of the gateways. `public_fds` are the
    listening sockets of gateways, `ops_fds` those of the stats process; `credentials` are for
    gateways alone.
    """

    role: ChildRole
    index: int
    incarnation: int
    epoch: str
    config: Config
    dimensions: Dimensions
    cores: list[int]
    supervisor_pid: int
    control_fd: int
    segment_fd: int
    arena_fds: list[int] = []
    public_fds: list[int] = []
    ops_fds: list[int] = []
    credentials: Credentials = Credentials()

    @property
    def child(self) -> ChildId:
        """Who the child is."""
        return ChildId(self.role, self.index)

    @property
    def inherited_fds(self) -> list[int]:
        """All descriptors the child needs besides that of this document."""
        return [
            self.control_fd,
            self.segment_fd,
            *self.arena_fds,
            *self.public_fds,
            *self.ops_fds,
        ]


def write_boot(spec: BootSpec) -> int:
    """Return a descriptor from which the child reads `spec`; the caller closes it."""
    fd = os.memfd_create("boot")
    os.write(fd, msgspec.json.encode(spec))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_boot(fd: int) -> BootSpec:
    """Read what `write_boot` wrote, and close `fd`."""
    with open(fd, "rb") as file:
        return msgspec.json.decode(file.read(), type=BootSpec)
