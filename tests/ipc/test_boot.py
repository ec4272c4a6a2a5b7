import os

import msgspec
import pytest

from scheduler.config import Config
from scheduler.ipc.boot import BootSpec, ChildId, read_boot, write_boot
from scheduler.memory.layout import Dimensions

SPEC = BootSpec(
    role="gateway",
    index=1,
    incarnation=3,
    epoch="0a1b2c3d",
    config=Config(runtime_dir="/ü", gateways=2),
    dimensions=Dimensions(gateways=2, nodes=10, sessions_per_gateway=20, classes=4),
    cores=[0, 1],
    supervisor_pid=42,
    control_fd=3,
    segment_fd=4,
    arena_fds=[5, 6],
    public_fds=[7],
)


def test_a_child_reads_what_the_supervisor_wrote() -> None:
    fd = write_boot(SPEC)
    assert read_boot(fd) == SPEC
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_every_descriptor_is_inherited() -> None:
    assert SPEC.inherited_fds == [3, 4, 5, 6, 7]
    stats = msgspec.structs.replace(SPEC, role="stats", arena_fds=[], public_fds=[], ops_fds=[8])
    assert stats.inherited_fds == [3, 4, 8]


def test_children_have_names_and_rows_of_their_own() -> None:
    children = [
        ChildId("dispatcher"),
        ChildId("stats"),
        ChildId("gateway", 0),
        ChildId("gateway", 1),
    ]
    assert [str(child) for child in children] == ["dispatcher", "stats", "gateway 0", "gateway 1"]
    assert [child.row for child in children] == [1, 2, 3, 4]
    assert SPEC.child == ChildId("gateway", 1)
