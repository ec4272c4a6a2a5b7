"""The limits of the machine in small: each piece is measured on both sides, and compared."""

import subprocess
from pathlib import Path

import pytest

from native_bench import kernels_pieces
from native_bench.build import SANITIZERS, build
from native_bench.kernels import Sample, Settings, make_report, measure
from native_bench.kernels_pieces import PIECES
from scheduler.errors import ProgramError


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("kernels", tmp_path_factory.mktemp("kernels"), SANITIZERS)


def test_all_pieces_are_measured() -> None:
    result = measure(Settings(rounds=1))
    assert [sample["piece"] for sample in result.samples] == list(PIECES)
    assert all(s["c_ns"] > 0 and s["python_ns"] > 0 for s in result.samples)
    assert len(result.figures) == len(result.tables[0].rows) == len(PIECES)


def test_only_some_pieces_may_be_measured() -> None:
    result = measure(Settings(pieces=("seqlock",), rounds=2))
    assert [(s["piece"], s["round"]) for s in result.samples] == [("seqlock", 0), ("seqlock", 1)]


def test_the_table_says_what_stands_beside_c() -> None:
    """Not all of it is the scheduler's code."""
    samples = [Sample(name, 0, 1.0, 10.0) for name in PIECES]
    [table] = make_report(Settings(), samples).tables
    beside = {row[0]: row[table.headings.index("beside C")] for row in table.rows}
    assert beside["a row of 64 B under a sequence"] == "plain Python"
    assert beside["least of 1,000 scores, half of them masked"] == "numpy"
    assert beside["least of 1,000 scores"] == "steps of `Placement`"
    named = {name.strip("`") for name in beside.values() if name.startswith("`")}
    assert named == {"Channel", "Arena", "Inbound"}
    assert all(hasattr(kernels_pieces, name) for name in named)


def test_an_unknown_piece_is_named() -> None:
    with pytest.raises(ProgramError, match=r"no such pieces: \['magic'\]; there are choose 1000"):
        measure(Settings(pieces=("magic",)))


def test_the_fastest_round_counts_and_slow_ones_raise_doubt() -> None:
    samples = [Sample("seqlock", 0, 3.0, 30.0), Sample("seqlock", 1, 2.0, 60.0)]
    result = make_report(Settings(), samples)
    assert result.figures == {"seqlock_ratio": 15.0}
    assert result.doubts == [
        "a row of 64 B under a sequence: half of the rounds took Python over "
        "50% longer than the fastest"
    ]
    assert not make_report(Settings(), samples[:1]).doubts


@pytest.mark.parametrize("size", [8, 40, 264, 1_000, 99_992])
@pytest.mark.parametrize("kernel", ["choose_least", "choose_least_allowed"])
def test_kernels_take_any_number_of_scores(kernels: Path, kernel: str, size: int) -> None:
    assert float(run(kernels, f"{kernel} {size}").stdout) > 0


@pytest.mark.parametrize("piece", PIECES)
def test_no_kernel_errs(kernels: Path, piece: str) -> None:
    """With the sanitizers."""
    assert float(run(kernels, f"{PIECES[piece].kernel} {PIECES[piece].size}").stdout) > 0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nothing 1", "there is no kernel 'nothing'"),
        ("seqlock_read", "a line is NAME SIZE"),
        ("seqlock_read x", "is no size"),
        ("seqlock_read 63", "a row has 64 bytes"),
        ("pipe_one_way 1000", "1000 records in a write; at most 256"),
    ],
)
def test_what_is_asked_wrongly_is_said(kernels: Path, line: str, problem: str) -> None:
    done = run(kernels, line)
    assert done.returncode == 1
    assert problem in done.stderr


def run(kernels: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [kernels], input=line + "\n", capture_output=True, text=True, check=False, timeout=60
    )
