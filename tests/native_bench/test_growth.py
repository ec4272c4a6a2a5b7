"""The growth benchmark in small, and what its verdict rests on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from native_bench.growth import (
    Sample,
    Settings,
    gross_us,
    make_report,
    measure,
    net_us,
    ratios_of,
)
from native_bench.targets import targets_of
from tests.harness import poll, runs


def test_each_number_of_nodes_is_measured() -> None:
    settings = Settings(
        nodes=(5, 20),
        sessions=3,
        rounds=1,
        idle_seconds=0.3,
        warmup_seconds=0.1,
        seconds=0.3,
    )
    report = measure(settings)
    assert sorted(sample["nodes"] for sample in report.samples) == [5, 20]
    assert report.doubts == []
    assert report.figures["gross_growth"] > 0


def test_a_signal_ends_it_and_all_that_it_started(tmp_path: Path) -> None:
    log_path, folder = tmp_path / "log", tmp_path / "temporary"
    folder.mkdir()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "native_bench.run", "growth", "--nodes", "5"],
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=log,
            stderr=log,
        )

    def driver_runs() -> bool:
        assert process.poll() is None, log_path.read_text()
        return bool(list(folder.glob("*/driver.log")))

    try:
        poll("the driver runs", driver_runs, seconds=60)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    finally:
        process.terminate()
        process.wait(60)
    assert "Traceback" not in log_path.read_text()
    assert not list(folder.iterdir())
    assert len(started) >= 4  # supervisor, dispatcher, stats, gateway
    assert not [child for child in started if runs(child)]


def sample(nodes: int, cpu_seconds: float, idle_cpu_seconds: float, number: int = 0) -> Sample:
    """Return a round of 1,000 jobs in two seconds, after four idle ones."""
    return Sample(
        nodes=nodes,
        round=number,
        jobs=1_000,
        seconds=2.0,
        cpu_seconds={"gateway 0": cpu_seconds},
        idle_seconds=4.0,
        idle_cpu_seconds={"gateway 0": idle_cpu_seconds},
        faults={},
    )


def test_what_idle_nodes_cost_is_taken_off() -> None:
    found = sample(100, cpu_seconds=0.5, idle_cpu_seconds=0.4)
    assert gross_us(found) == pytest.approx(500)
    assert found.idle_share == pytest.approx(0.1)
    assert net_us(found) == pytest.approx(300)


def test_both_figures_are_judged_and_one_says_that_idle_cost_is_taken_off() -> None:
    samples = [sample(100, 0.5, 0.0), sample(1_000, 0.5, 0.0), sample(10_000, 0.7, 0.4)]
    found = make_report(Settings(rounds=1), samples)
    assert found.figures == pytest.approx({"gross_growth": 1.4, "growth": 1.0})
    gross, net = targets_of("growth")
    assert gross.verdict(found.figures[gross.figure]) == "missed"
    assert "all of it" in gross.says
    assert net.verdict(found.figures[net.figure]) == "met"
    assert "taken off" in net.says
    [table] = found.tables
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert rows[-1]["to 100 nodes"] == "1.40 (1.40 to 1.40)"
    assert rows[-1]["its to 100 nodes"] == "1.00 (1.00 to 1.00)"
    assert table.note.startswith("one round")


def test_growth_is_the_median_of_the_rounds() -> None:
    samples = [
        *(sample(100, 0.1, 0, number) for number in range(3)),
        *(sample(1_000, 9, 0, number) for number in range(3)),
        *(sample(10_000, cost, 0, number) for number, cost in enumerate((0.1, 0.12, 0.2))),
    ]
    assert make_report(Settings(), samples).figures["growth"] == pytest.approx(1.2)
    assert ratios_of(samples, 100, 10_000, gross_us) == pytest.approx([1.0, 1.2, 2.0])
