"""The segment: made whole, attached only when it is ours, gone when nobody uses it."""

import fcntl
import mmap
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scheduler.errors import LayoutError, StartError
from scheduler.memory.layout import HEADER, Dimensions, Layout
from scheduler.memory.segment import Segment, allocate, check_machine

SMALL = Dimensions(gateways=2, nodes=8, sessions_per_gateway=4, classes=3)


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(SMALL, epoch="beef", started_ms=1, started_ns=2)
    yield made
    made.close()


def attach(segment: Segment, *, writable: bool = False) -> Segment:
    return Segment.attach(os.dup(segment.fd), writable=writable)


def overwrite(segment: Segment, column: str, value: int) -> None:
    segment.views.column(HEADER.name, column)[0] = value


def test_an_attached_segment_knows_its_dimensions_and_sees_what_is_written(
    segment: Segment,
) -> None:
    reader = attach(segment)
    segment.views.column("nodes", "in_flight")[3] = 7
    assert reader.dimensions == SMALL
    assert reader.epoch == "beef"
    assert reader.views.column("nodes", "in_flight")[3] == 7
    reader.close()


def test_a_reader_can_not_write(segment: Segment) -> None:
    reader = attach(segment)
    column = reader.views.column("nodes", "in_flight")
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        column.flags.writeable = True
    reader.close()


def test_it_can_not_be_resized(segment: Segment) -> None:
    for size in (0, segment.layout.total_bytes * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, size)
    assert fcntl.fcntl(segment.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL


def test_a_segment_without_its_magic_is_not_ready(segment: Segment) -> None:
    overwrite(segment, "magic", 0)
    fd = os.dup(segment.fd)
    with pytest.raises(LayoutError, match="not initialised"):
        Segment.attach(fd, writable=False)
    os.close(fd)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("magic", 12345, "not a scheduler's"),
        ("layout_hash", 1, "another version"),
        ("nodes", 9, "another version"),
        ("nodes", 0, "damaged"),
        ("classes", -1, "damaged"),
        ("gateways", 1 << 40, "damaged"),
    ],
)
def test_a_foreign_segment_is_refused(
    segment: Segment, column: str, value: int, problem: str
) -> None:
    overwrite(segment, column, value)
    fd = os.dup(segment.fd)
    with pytest.raises(LayoutError, match=problem):
        Segment.attach(fd, writable=False)
    os.close(fd)


def test_a_segment_cut_short_is_refused() -> None:
    layout = Layout(SMALL)
    with open(os.memfd_create("short"), "w+b") as file:
        donor = Segment.create(SMALL, epoch="", started_ms=0, started_ns=0)
        file.write(os.pread(donor.fd, layout.total_bytes - 128, 0))
        donor.close()
        file.flush()
        with pytest.raises(LayoutError, match="not as large"):
            Segment.attach(file.fileno(), writable=False)


def test_a_file_that_is_no_segment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.write_bytes(b"short")
    with pytest.raises(LayoutError, match="not a scheduler's"):
        Segment.open(path)
    with pytest.raises(LayoutError, match="is the scheduler running"):
        Segment.open(tmp_path / "missing")
    with pytest.raises(LayoutError, match="not a scheduler's"):
        Segment.open(tmp_path)


def test_it_opens_by_a_path_of_proc(segment: Segment) -> None:
    opened = Segment.open(f"/proc/{os.getpid()}/fd/{segment.fd}")
    assert opened.dimensions == SMALL
    opened.close()


def test_views_outlive_the_descriptor(segment: Segment) -> None:
    reader = attach(segment)
    column = reader.views.column("nodes", "ref")
    reader.close()
    segment.views.column("nodes", "ref")[0] = 5
    assert column[0] == 5


def test_another_process_attaches_by_descriptor(segment: Segment) -> None:
    code = (
        "import sys; from scheduler.memory.segment import Segment;"
        "s = Segment.attach(int(sys.argv[1]), writable=True);"
        "s.views.column('nodes', 'capacity')[2] = 42"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(segment.fd)], pass_fds=[segment.fd], check=True, timeout=30
    )
    assert segment.views.column("nodes", "capacity")[2] == 42


def test_memory_that_can_not_be_had_says_so() -> None:
    with pytest.raises(StartError, match=r"MiB are available; lower limits"):
        allocate("huge", 1 << 50)


def test_other_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_machine()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(StartError, match="aarch64"):
        check_machine()


def test_a_fresh_segment_is_zero_but_for_its_header(segment: Segment) -> None:
    with mmap.mmap(segment.fd, 0, access=mmap.ACCESS_READ) as raw:
        header = Layout(SMALL).placements["header", "magic"].strides[0]
        assert not np.frombuffer(raw[header:], np.uint8).any()
