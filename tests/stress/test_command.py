"""The whole command, with files and pictures."""

import json
from pathlib import Path

import pytest

from scheduler.errors import ConfigError
from scheduler.stress import command
from scheduler.stress.command import Order, carry_out
from scheduler.stress.messages import Violation
from scheduler.stress.raw import Run
from scheduler.stress.scenario import Overrides
from tests.stress.samples import call, run_of

SMALL = Overrides(seconds=3, nodes=20, sessions=10, rate=40)


def order(scenario: str, out: Path, *, as_json: bool = False) -> Order:
    return Order(scenario, SMALL, None, None, out, as_json)


@pytest.mark.parametrize(
    ("name", "charts"),
    [
        ("steady", {"latency", "over-time", "stages", "cpu", "nodes"}),
        ("ramp", {"latency", "saturation", "over-time", "stages", "cpu", "nodes"}),
    ],
)
def test_a_small_run_ends_with_a_report(
    name: str, charts: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carry_out(order(name, tmp_path))
    out, err = capsys.readouterr()
    assert "starting a scheduler, 20 nodes, 10 sessions" in err
    assert "promises    all promises kept" in out
    assert str(tmp_path / "report.html") in out
    # A machine that is busy with other things may have jobs refused.
    assert {path.stem for path in tmp_path.glob("*.png")} - {"errors"} == charts
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list(tmp_path.glob("*.png")))


def test_raw_samples_are_printed_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(command, "run", lambda *_: run_of([call(0, 20), call(5, 30)]))
    assert carry_out(order("steady", tmp_path, as_json=True))
    result = json.loads(capfdbinary.readouterr().out)
    assert result["figures"]["latency"]["max_ms"] == 30
    assert len(result["run"]["calls"]) == 2
    assert result["report"] == str(tmp_path / "report.html")


def test_a_broken_promise_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> Run:
        return run_of([call(0, 20)], violations=[Violation("lost", "x")])

    monkeypatch.setattr(command, "run", broken)
    assert not carry_out(order("steady", tmp_path))
    assert "broken: 1 lost" in capsys.readouterr().out


def test_a_wrong_address_is_found_before_anything_starts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="write ws://host:port"):
        carry_out(Order("steady", SMALL, "nowhere", None, out, False))
    assert not out.exists()
