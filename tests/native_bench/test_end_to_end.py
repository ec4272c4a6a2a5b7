"""The end-to-end benchmark in small, so that it can't rot, and what its verdict rests on."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from native_bench.end_to_end import (
    Sample,
    Settings,
    doubts,
    make_report,
    measure,
    ratios_of,
    sessions_with,
    size_name,
)
from native_bench.results import Result
from native_bench.sites import C_RELAY, ONE_GATEWAY, PLAIN, PYTHON_RELAY, SITES

SMALL = Settings(
    nodes=5, sessions=4, window=2, rounds=1, warmup_seconds=0.1, seconds=0.3, text_bytes=(256,)
)


def test_all_programs_carry_jobs_without_fault() -> None:
    report = measure(SMALL)
    assert {sample["program"] for sample in report.samples} == set(SITES)
    assert report.doubts == []
    for sample in report.samples:
        assert sample["jobs"] > 0
        assert sum(sample["cpu_seconds"].values()) > 0
        processes = {name.split()[0] for name in sample["cpu_seconds"]}
        if sample["program"].startswith(ONE_GATEWAY):
            assert processes == {"supervisor", "dispatcher", "stats", "gateway"}
    assert set(report.figures) == {"to_python_relay_256", "to_c_relay_256", "over_plain_256"}
    assert msgspec.json.decode(msgspec.json.encode(report), type=Result) == report


def test_long_audio_has_fewer_sessions_and_errs_nowhere() -> None:
    usual = Settings()
    assert [sessions_with(usual, size) for size in usual.text_bytes] == [1_000, 1_000, 128]
    assert sessions_with(usual, 1 << 30) == 1
    report = measure(replace(SMALL, text_bytes=(500_000,), seconds=0.5))
    assert {sample["program"] for sample in report.samples} == set(SITES)
    assert report.doubts == []
    assert "to_python_relay_500000" in report.figures
    assert report.tables[0].title == "a job of 500 KB, 5 nodes, 4 sessions"


@pytest.mark.parametrize("sizes", [(256,), (256, 44_000), (256, 44_000, 500_000)])
def test_there_is_a_plot_for_each_length_of_audio(sizes: tuple[int, ...], tmp_path: Path) -> None:
    samples = [
        replace(sample(program, 100), text_bytes=size)
        for program in (ONE_GATEWAY, PLAIN)
        for size in sizes
    ]
    found = make_report(Settings(programs=(ONE_GATEWAY, PLAIN), text_bytes=sizes), samples)
    (tmp_path / "found.json").write_bytes(msgspec.json.encode(found))
    # In a process of its own: the library keeps its fonts open.
    subprocess.run([sys.executable, "-c", _DRAW, str(tmp_path)], check=True)
    drawn = (tmp_path / "end-to-end.svg").read_text()
    assert [size for size in sizes if f"{size_name(size)} of audio" in drawn] == [*sizes]


_DRAW = """
import sys
from pathlib import Path
from native_bench.plots import write_all
from native_bench.results import read
folder = Path(sys.argv[1])
write_all({"end-to-end": read(folder / "found.json")}, folder)
"""


def sample(program: str, cpu_us: float, number: int = 0, **fields: int) -> Sample:
    """Return a round of 1,000 jobs."""
    return Sample(
        program=program,
        round=number,
        text_bytes=256,
        jobs=1_000,
        seconds=1.0,
        cpu_seconds={"gateway 0": cpu_us / 1_000 * 0.75, "dispatcher": cpu_us / 1_000 * 0.25},
        driver_cpu_seconds=0.01,
        retried=fields.get("retried", 0),
        faults={"lost": fields["lost"]} if "lost" in fields else {},
    )


def test_ratios_are_those_of_rounds_and_the_median_counts() -> None:
    samples = [
        *(sample(ONE_GATEWAY, cost, number) for number, cost in enumerate((30, 40, 90))),
        *(sample(PYTHON_RELAY, cost, number) for number, cost in enumerate((20, 20, 30))),
        *(sample(C_RELAY, 10, number) for number in range(3)),
        *(sample(PLAIN, cost, number) for number, cost in enumerate((150, 200, 360))),
    ]
    assert ratios_of(samples, 256, ONE_GATEWAY, PYTHON_RELAY) == pytest.approx([1.5, 2, 3])
    programs = (ONE_GATEWAY, PYTHON_RELAY, C_RELAY, PLAIN)
    figures = make_report(Settings(programs=programs, text_bytes=(256,)), samples).figures
    assert figures == {"to_python_relay_256": 2, "to_c_relay_256": 4, "over_plain_256": 5}


def test_rounds_that_miss_a_program_are_left_out() -> None:
    samples = [sample(ONE_GATEWAY, 30, 0), sample(ONE_GATEWAY, 30, 1), sample(PLAIN, 60, 1)]
    assert ratios_of(samples, 256, PLAIN, ONE_GATEWAY) == [2]


def test_faults_are_doubts() -> None:
    samples = [sample(ONE_GATEWAY, 1), sample(PLAIN, 1, 2, lost=3), sample(PLAIN, 1, retried=4)]
    assert doubts(samples) == [
        "plain scheduler, 256 B, round 2: lost 3",
        "plain scheduler, 256 B, round 0: retried 4",
    ]
