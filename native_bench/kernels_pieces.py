"""The pieces of native_bench/kernels.py in Python, by the scheduler's classes where it has them."""

import mmap
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import numpy as np
from msgspec import Struct
from websockets.frames import Frame, Opcode

from native_bench.kernels_peer import ANSWERED, flush_all
from scheduler.gateway.inbound import Inbound
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.memory.arena import Arena, ArenaReader, create_arena
from scheduler.protocol.ids import job_key_base
from scheduler.protocol.records import ArenaRef, Submit
from scheduler.selection.scores import INFINITE, TURN_BITS

_LOAD_MAX = 8
_ROW_BYTES = 64
_ARENA_BYTES = 1 << 20
_NO_RATE = 1 << 40

Turns = Callable[[int], None]
"""Does something so many times."""


class Piece(Struct, frozen=True):
    """One of them: its kernel in C, and what stands beside it."""

    about: str
    beside: str
    kernel: str
    size: int
    start: Callable[[int], AbstractContextManager[Turns]]


def _scores(size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return a row of scores: loads above, turns below."""
    loads = np.random.default_rng(size).integers(0, _LOAD_MAX, size)
    return (loads << TURN_BITS) + np.arange(size)


@contextmanager
def _choose(size: int) -> Iterator[Turns]:
    """What Placement.choose and rescore do, without their calls."""
    row = _scores(size)
    cells = memoryview(row)  # type: ignore[arg-type]  # as placement.py does

    def turns(count: int) -> None:
        job = 1 << TURN_BITS
        before = 0
        cells[before] += job
        for _ in range(count):
            best = int(row.argmin())
            assert cells[best] != INFINITE  # noqa: S101 - part of what is measured
            cells[best] += job
            cells[before] -= job
            before = best
        cells[before] -= job

    yield turns


@contextmanager
def _choose_allowed(size: int) -> Iterator[Turns]:
    """With a mask of half the nodes. The scheduler has none: it keeps rows without the others."""
    row = _scores(size)
    allowed = np.random.default_rng(size + 1).integers(0, 2, size).astype(np.bool_)

    def turns(count: int) -> None:
        for _ in range(count):
            int(np.where(allowed, row, INFINITE).argmin())

    yield turns


@contextmanager
def _peer() -> Iterator[Channel[Submit]]:
    """Start a process at the other end of a channel."""
    ours, theirs = make_pipes()
    process = subprocess.Popen(
        [sys.executable, "-m", "native_bench.kernels_peer", *map(str, theirs)], pass_fds=theirs
    )
    for fd in theirs:
        os.close(fd)
    channel: Channel[Submit] = Channel(*ours, Submit, queue_bytes_max=1 << 30)
    try:
        yield channel
    finally:
        channel.close()
        process.wait(10)


def _submit(requirement: int) -> Submit:
    return Submit(job_key_base(0, 0) + 1, requirement, payload=ArenaRef(0, 1 << 20, 500, 123_456))


def _await_one(channel: Channel[Submit], poller: select.epoll) -> None:
    while not channel.receive():
        poller.poll()


@contextmanager
def _round_trip(_: int) -> Iterator[Turns]:
    record = _submit(ANSWERED)
    with _peer() as channel, select.epoll() as poller:
        poller.register(channel.read_fd, select.EPOLLIN)

        def turns(count: int) -> None:
            for _ in range(count):
                channel.queue(record)
                flush_all(channel)
                poller.poll()
                _await_one(channel, poller)

        yield turns


@contextmanager
def _one_way(batch: int) -> Iterator[Turns]:
    records = [_submit(ANSWERED + 1)] * batch
    with _peer() as channel, select.epoll() as poller:
        poller.register(channel.read_fd, select.EPOLLIN)

        def turns(count: int) -> None:
            for _ in range(count // batch):
                channel.queue_all(records)
                flush_all(channel)
            channel.queue(_submit(ANSWERED))
            flush_all(channel)
            _await_one(channel, poller)

        yield turns


@contextmanager
def _arena(size: int) -> Iterator[Turns]:
    fd = create_arena(_ARENA_BYTES)
    payload = bytes(size)
    with closing(Arena(fd, 0, 0)) as arena, closing(ArenaReader(fd)) as reader:
        os.close(fd)

        def turns(count: int) -> None:
            for _ in range(count):
                ref = arena.put(payload)
                assert reader.get(ref) is not None  # noqa: S101 - part of what is measured
                arena.free(ref.block)

        yield turns


@contextmanager
def _seqlock(size: int) -> Iterator[Turns]:
    """A row of int64 of which the first is its sequence. The scheduler copies all rows at once."""
    with mmap.mmap(-1, size) as memory, memoryview(memory) as data, data.cast("q") as words:

        def turns(count: int) -> None:
            for _ in range(count):
                before = words[0]
                bytes(data)
                assert before % 2 == 0  # noqa: S101 - part of what is measured
                assert words[0] == before  # noqa: S101

        yield turns


@contextmanager
def _frame(size: int) -> Iterator[Turns]:
    inbound = Inbound(8 << 20, _NO_RATE, 0.0)
    data = Frame(Opcode.TEXT, b"a" * size).serialize(mask=True)

    def turns(count: int) -> None:
        for _ in range(count):
            for _message in inbound.receive(data, 0.0):
                pass

    yield turns


PIECES = {
    **{
        f"choose {size}": Piece(
            f"least of {size:,} scores", "steps of `Placement`", "choose_least", size, _choose
        )
        for size in (1_000, 10_000, 100_000)
    },
    **{
        f"choose masked {size}": Piece(
            f"least of {size:,} scores, half of them masked",
            *("numpy", "choose_least_allowed", size, _choose_allowed),
        )
        for size in (1_000, 10_000, 100_000)
    },
    "round trip": Piece(
        "a record to another process and back", "`Channel`", "pipe_round_trip", 1, _round_trip
    ),
    **{
        f"one way {size}": Piece(
            f"a record one way, {size} in a write", "`Channel`", "pipe_one_way", size, _one_way
        )
        for size in (1, 8, 64)
    },
    **{
        f"arena {size}": Piece(
            f"{size:,} B into shared memory and out", "`Arena`", "arena_put_get", size, _arena
        )
        for size in (256, 44_000)
    },
    "seqlock": Piece(
        "a row of 64 B under a sequence", "plain Python", "seqlock_read", _ROW_BYTES, _seqlock
    ),
    **{
        f"frame {size}": Piece(
            f"the frame of a message of {size:,} B", "`Inbound`", "frame_parse", size, _frame
        )
        for size in (256, 44_000)
    },
}
"""All of them by name."""
