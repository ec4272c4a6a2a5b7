import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.cli import main
from scheduler.stress import command
from scheduler.stress.command import Order
from scheduler.stress.scenario import Overrides
from scheduler.stress.scenario_file import names
from tests.harness import poll


def ended(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["stress", *options])
    code = ending.value.code
    assert isinstance(code, int)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_names_all_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ended(capsys, "--help")
    assert code == 0
    for said in (*names(), "--url", "--rate", "--seed", "--out", "--json"):
        assert said in out


def test_a_scenario_that_is_none_is_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ended(capsys, "rampp")
    assert code == 78
    assert "no such scenario (did you mean ramp?)" in err


@pytest.mark.parametrize("kept", [True, False])
def test_options_become_an_order_and_the_outcome_an_exit_code(
    kept: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[Order] = []

    def carry_out(order: Order) -> bool:
        orders.append(order)
        return kept

    monkeypatch.setattr(command, "carry_out", carry_out)
    options = ("--seconds", "3", "--nodes", "0", "--sessions", "4", "--rate", "5", "--seed", "6")
    code, _, _ = ended(capsys, "ramp", *options, "--out", "x", "--url", "ws://h:1", "--json")
    assert code == (0 if kept else 1)
    assert orders == [Order("ramp", Overrides(3, 0, 4, 5, 6), "ws://h:1", None, Path("x"), True)]


def test_ctrl_c_ends_it_with_a_report(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "scheduler", "stress", "steady", "--nodes", "5"),
            *("--sessions", "5", "--seconds", "600", "--out", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        heard = b""

        def measuring() -> bool:
            nonlocal heard
            heard += process.stderr.read() or b"" if process.stderr else b""
            return b"jobs/s" in heard

        poll("jobs are measured", measuring, seconds=60)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert b"ended early" in out
    assert (tmp_path / "report.html").exists()
