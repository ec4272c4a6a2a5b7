from pathlib import Path

import pytest

from scheduler.cli import main


def test_without_a_scheduler_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reload", "--runtime-dir", str(tmp_path)])
    assert ended.value.code == 69
    assert "no scheduler serves" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "100000"])
def test_a_timeout_is_a_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reload", "--timeout", seconds])
    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err
