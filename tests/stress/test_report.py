import sys
from pathlib import Path

import pytest

from scheduler.errors import ConfigError
from scheduler.stress.figures import make_figures
from scheduler.stress.report import draw_charts, make_folder, write
from tests.stress.samples import call, run_of


def test_a_report_is_a_page_and_its_pictures(tmp_path: Path) -> None:
    run = run_of([call(0, 20)])
    path = write(tmp_path, run, make_figures(run))
    assert path == tmp_path / "report.html"
    pictures = {file.stem for file in tmp_path.glob("*.png")}
    assert pictures == {"latency", "over-time", "stages", "cpu", "nodes"}
    assert path.read_text().count("data:image/png;base64,") == len(pictures)


def test_without_matplotlib_there_is_a_page_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("charts", "canvas"):
        monkeypatch.delitem(sys.modules, f"scheduler.stress.{name}", raising=False)
        monkeypatch.delattr(f"scheduler.stress.{name}", raising=False)
    run = run_of([call(0, 20)])
    assert draw_charts(run, make_figures(run)) is None
    path = write(tmp_path, run, make_figures(run))
    assert "pip install matplotlib" in path.read_text()
    assert list(tmp_path.glob("*.png")) == []


def test_a_folder_is_made_by_name_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_folder(None, "steady")
    assert folder.is_dir()
    assert str(folder).startswith("stress-reports/steady-20")
    assert make_folder(tmp_path / "a" / "b", "steady") == tmp_path / "a" / "b"


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="say another one with --out"):
        make_folder(tmp_path / "file" / "below", "steady")
