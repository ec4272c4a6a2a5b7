"""The page on performance: it says what the kept results say, all of it, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from native_bench import report
from native_bench.benchmarks import BENCHMARKS
from native_bench.plots import PLOTS
from native_bench.report import PAGE, TEMPLATE, page, problems, read_remarks, read_results
from native_bench.results import Figures, Result, make_result, write
from native_bench.targets import TARGETS


class Settings(Struct, frozen=True):
    starts: int = 3


def start(seconds: float) -> Result:
    return make_result(
        "start",
        settings=Settings(),
        figures={"ready_seconds": seconds},
        tables=[Figures("from start to ready", ("gateways", "s"), [("1", f"{seconds}")], "a note")],
        doubts=["it was a bad day"],
        samples=[],
    )


def test_marks_are_replaced() -> None:
    text = page("{{about start}}\n{{result start}}\n{{result idle}}\nend", {"start": start(1)}, {})
    assert text.startswith("How long it takes from the command to a scheduler that serves.")
    assert "| 1 | 1 |" in text
    assert "- it was a bad day" in text
    assert "A note." in text
    assert text.endswith("Not measured yet.\nend")


@pytest.mark.parametrize("mark", ["nothing", "about nobody"])
def test_unknown_marks_are_refused(mark: str) -> None:
    with pytest.raises(KeyError):
        page(f"{{{{{mark}}}}}", {}, {})


def test_targets_that_are_missed_have_their_reasons() -> None:
    remarks = {"start.ready_seconds": "slow\n  disks"}
    assert "**missed**" not in page("{{targets}}", {"start": start(1.5)}, remarks)
    missed = page("{{targets}}", {"start": start(1.6)}, remarks)
    assert "| from start to ready | ≤ 1.50 s | 1.60 s | **missed** |" in missed
    assert missed.endswith("- *from start to ready*: slow disks")
    assert "no reason is known yet" in page("{{targets}}", {"start": start(1.6)}, {})
    assert all(target.says in missed for target in TARGETS)


def test_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "REMARKS", tmp_path / "remarks.toml")
    report.REMARKS.write_text('"idle.node_kb" = "why"\n')
    write(start(2), tmp_path / "start.json")
    found = list(problems())
    assert "start.ready_seconds is missed, and remarks.toml says not why" in found
    assert "remarks.toml: idle.node_kb is not missed" in found
    assert {f"no result of {name}" for name in BENCHMARKS if name != "start"} < set(found)


def test_the_page_is_what_would_be_written() -> None:
    """After `scripts/bench report`, that is; what is written by hand goes into its template."""
    assert PAGE.read_text() == page(TEMPLATE.read_text(), read_results(), read_remarks())


def test_the_template_shows_each_benchmark_and_each_plot() -> None:
    template = TEMPLATE.read_text()
    for name in BENCHMARKS:
        assert f"{{{{about {name}}}}}" in template
        assert f"{{{{result {name}}}}}" in template
    for name in PLOTS:
        assert f"{{{{image {name} " in template


def test_remarks_are_for_targets() -> None:
    assert set(read_remarks()) <= {target.key for target in TARGETS}


_DRAW = """
import sys
from pathlib import Path
from native_bench.plots import write_all
from native_bench.report import read_results
write_all(read_results(), Path(sys.argv[1]))
"""


def test_plots_of_the_same_results_are_the_same(tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        # In a process of its own: the library keeps its fonts open.
        subprocess.run([sys.executable, "-c", _DRAW, str(tmp_path / name)], check=True)
        drawn.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {f"{name}.svg" for name in PLOTS if name in read_results()} != set()
