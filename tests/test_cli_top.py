import pytest

from scheduler.cli import main


def test_help_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["top", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--runtime-dir" in shown
    assert "--once --json" in shown


@pytest.mark.parametrize(
    "options",
    [["--json"], ["--interval", "0"], ["--interval", "nan"], []],  # output is no terminal here
    ids=" ".join,
)
def test_wrong_usage_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["top", *options])
    assert ended.value.code == 2
    assert capsys.readouterr().err
