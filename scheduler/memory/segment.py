"""The shared memory segment: an anonymous file that vanishes with the last process using it.

Not multiprocessing.shared_memory: there an attached process's exit deletes the segment (Python
before 3.13), and a killed creator leaves it behind.
"""

import fcntl
import mmap
import os
import platform
import sys
from pathlib import Path

import numpy as np

from scheduler.errors import LayoutError, StartError
from scheduler.memory.layout import HEADER, MAGIC, Dimensions, Layout
from scheduler.memory.views import Views

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_DIMENSIONS = ("gateways", "nodes", "sessions_per_gateway", "classes")

# The header lies at offset 0 row by row, so its columns' offsets depend on no dimension.
_HEADER_LAYOUT = Layout(Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1))
_HEADER_BYTES = _HEADER_LAYOUT.placements[HEADER.name, "magic"].strides[0]


def check_machine() -> None:
    """Raise StartError where aligned stores aren't as ordered as lock-free readers need."""
    if platform.machine() not in {"x86_64", "AMD64"} or sys.byteorder != "little":
        raise StartError(
            f"this machine is {platform.machine()}; the shared memory relies on the store order "
            "of x86-64 and was not made for others"
        )


def allocate(name: str, size_bytes: int) -> int:
    """Return a memfd of that size, reserved and sealed against resizing.

    `name` shows in /proc. Raises StartError where there is not enough memory.
    """
    available = _available_bytes()
    if size_bytes > available:  # reserving it would end in the kernel killing somebody
        raise StartError(
            f"{size_bytes >> 20} MiB of memory are needed for {name}, "
            f"{available >> 20} MiB are available; lower limits.*"
        )
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size_bytes)
        # Reserved now, because touching a page that can't be had later is a SIGBUS.
        os.posix_fallocate(fd, 0, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(fd)
        raise StartError(
            f"can't reserve {size_bytes >> 20} MiB of memory for {name}: {error.strerror}; "
            "lower limits.* or free memory"
        ) from error
    return fd


def _available_bytes() -> int:
    """Return what the kernel says can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise StartError("/proc/meminfo has no MemAvailable; is /proc mounted?")


class Segment:
    """A mapped segment and the descriptor it came from, which `close` closes.

    The mapping itself stays as long as any view of it is in use.
    """

    def __init__(self, fd: int, layout: Layout, epoch: str, *, writable: bool) -> None:
        self.fd = fd
        self.layout = layout
        self.dimensions = layout.dimensions
        self.epoch = epoch
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self.views = Views(memoryview(mmap.mmap(fd, layout.total_bytes, access=access)), layout)

    @classmethod
    def create(
        cls, dimensions: Dimensions, *, epoch: str, started_ms: int, started_ns: int
    ) -> "Segment":
        """Make a segment; raise StartError where there is not enough memory."""
        layout = Layout(dimensions)
        segment = cls(allocate("scheduler", layout.total_bytes), layout, epoch, writable=True)
        column = segment.views.column
        values = {
            "layout_hash": layout.layout_hash,
            "started_ms": started_ms,
            "started_ns": started_ns,
            "generation": 0,
            **{name: getattr(dimensions, name) for name in _DIMENSIONS},
        }
        for name, value in values.items():
            column(HEADER.name, name)[0] = value
        column(HEADER.name, "epoch")[0] = epoch.encode()
        column(HEADER.name, "magic")[0] = MAGIC
        return segment

    @classmethod
    def attach(cls, fd: int, *, writable: bool) -> "Segment":
        """Map the segment of another process and own its descriptor.

        Raises LayoutError where it is not ours, not ready yet, or of another layout.
        """
        header = _read_header(fd)
        if header["magic"] != MAGIC:
            raise LayoutError(
                "the segment is not initialised yet"
                if header["magic"] == 0
                else "this is not a scheduler's memory segment"
            )
        layout = _layout_of(header)
        if header["layout_hash"] != layout.layout_hash:
            raise LayoutError("the segment is of another version of the scheduler")
        if os.fstat(fd).st_size != layout.total_bytes:
            raise LayoutError("the segment is not as large as its header says")
        return cls(fd, layout, str(header["epoch"]), writable=writable)

    @classmethod
    def open(cls, path: str | Path) -> "Segment":
        """Map a running scheduler's segment read-only, by its path in `runtime_dir`.

        Raises LayoutError as `attach` does, and where there is nothing at `path`.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LayoutError(f"{path}: {error.strerror}; is the scheduler running?") from error
        try:
            return cls.attach(fd, writable=False)
        except LayoutError:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close the descriptor. Views stay usable; the memory goes with the last of them."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _read_header(fd: int) -> dict[str, int | str]:
    try:
        raw = os.pread(fd, _HEADER_BYTES, 0)
    except OSError as error:  # a folder, a pipe
        raise LayoutError("this is not a scheduler's memory segment") from error
    if len(raw) < _HEADER_BYTES:
        raise LayoutError("this is not a scheduler's memory segment")
    header: dict[str, int | str] = {}
    for column in HEADER.columns:
        place = _HEADER_LAYOUT.placements[HEADER.name, column.name]
        value = np.frombuffer(raw, place.dtype, 1, place.offset)[0]
        header[column.name] = (
            value.decode(errors="replace") if column.dtype[0] == "S" else int(value)
        )
    return header


def _layout_of(header: dict[str, int | str]) -> Layout:
    sizes = {name: int(header[name]) for name in _DIMENSIONS}
    if not all(0 < size <= 1 << 24 for size in sizes.values()):
        raise LayoutError("the segment's header is damaged")
    return Layout(Dimensions(**sizes))
