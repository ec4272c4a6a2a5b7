"""What this machine can do at best, piece by piece, beside what Python does in its place.

The dispatcher's look for the least loaded node, a record through a pipe, a payload through shared
memory, a row read while it may be written, a frame taken apart: each as small as it gets in C
(`native_bench/c/kernels`), and in Python, numpy's and msgspec's C included. Both run in turns.

Pipes, shared memory and frames are the scheduler's own classes, so the ratio says what a rewrite of
that piece alone could gain. The look for a node is written out as `Placement` does it, without its
calls. The scheduler neither masks scores, for it keeps a row without the others, nor reads one row
under a sequence, for it copies all rows at once: there, what stands beside C is the shortest way in
numpy and in Python.

The bias: each repeats the same few bytes, so that caches and branches are as good as they get.
The C side checks less: no UTF-8, no rate, no allocator. Its pipes block, where the scheduler waits
for several at a time. For pipes both ends share the machine's cores.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from native_bench.build import kernels_path
from native_bench.kernels_pieces import PIECES, Piece, Turns
from native_bench.results import Figures, Result, make_result
from scheduler.errors import ProgramError
from scheduler.programs import Program, running

_RUN_NS = 20_000_000
"""How long one measurement takes, as those in C."""

_TURNS_MIN = 16
_SPREAD_MAX = 0.25


class Settings(Struct, frozen=True, kw_only=True):
    """What is measured: `pieces` by their names in PIECES, in so many rounds."""

    pieces: tuple[str, ...] = tuple(PIECES)
    rounds: int = 9


class Sample(Struct, frozen=True):
    """One measurement of both: ns for each turn."""

    piece: str
    round: int
    c_ns: float
    python_ns: float


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run all pieces in turns; raises ProgramError where the program in C fails, or
    a piece is unknown."""
    unknown = set(settings.pieces) - PIECES.keys()
    if unknown:
        raise ProgramError(f"no such pieces: {sorted(unknown)}; there are {', '.join(PIECES)}")
    samples = []
    with (
        TemporaryDirectory(prefix="lingua-bench-") as folder,
        running(Path(folder), "kernels", command=[str(kernels_path())], talks=True) as program,
    ):
        for number, name in itertools.product(range(settings.rounds), settings.pieces):
            tell(f"round {number + 1} of {settings.rounds}, {name}")
            piece = PIECES[name]
            c_ns = _c_ns(program, piece)
            samples.append(Sample(name, number, c_ns, round(_python_ns(piece), 1)))
    return make_report(settings, samples)


def _c_ns(program: Program, piece: Piece) -> float:
    program.tell(f"{piece.kernel} {piece.size}".encode())
    return float(program.read_line())


def _python_ns(piece: Piece) -> float:
    """Run it longer and longer until that is long enough, then once more."""
    count = max(_TURNS_MIN, piece.size if piece.kernel == "pipe_one_way" else 0)
    with piece.start(piece.size) as turns:
        while _time_ns(turns, count) < _RUN_NS:
            count *= 2
        return _time_ns(turns, count) / count


def _time_ns(turns: Turns, count: int) -> int:
    began_ns = time.perf_counter_ns()
    turns(count)
    return time.perf_counter_ns() - began_ns


def make_report(settings: Settings, samples: list[Sample]) -> Result:
    """Return what the samples come to: the least of each, for others only ever add time."""
    rows, figures, doubts = [], {}, []
    for name in dict.fromkeys(sample.piece for sample in samples):
        of_piece = [sample for sample in samples if sample.piece == name]
        in_c = min(sample.c_ns for sample in of_piece)
        in_python = min(sample.python_ns for sample in of_piece)
        figures[f"{name.replace(' ', '_')}_ratio"] = in_python / in_c
        rows.append(
            (
                PIECES[name].about,
                PIECES[name].beside,
                f"{in_c:,.1f}",
                f"{in_python:,.0f}",
                f"{in_python / in_c:,.1f}x",
            )
        )
        median = statistics.median(sample.python_ns for sample in of_piece)
        if median > (1 + _SPREAD_MAX) * in_python:
            doubts.append(
                f"{PIECES[name].about}: half of the rounds took Python over "
                f"{median / in_python - 1:.0%} longer than the fastest"
            )
    return make_result(
        "kernels",
        settings=settings,
        figures=figures,
        tables=[
            Figures(
                "the machine's limits, ns",
                ("piece", "beside C", "C", "Python", "ratio"),
                rows,
                note=f"the fastest of {settings.rounds} rounds",
            )
        ],
        doubts=doubts,
        samples=samples,
    )
