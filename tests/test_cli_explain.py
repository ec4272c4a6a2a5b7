import pytest

from scheduler.cli import main
from scheduler.protocol.requirements import FEATURES


def ended(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ending:
        main(["explain", *options])
    code = ending.value.code
    assert isinstance(code, int)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ended(capsys, "--help")
    assert code == 0
    for option in (
        "--runtime-dir",
        "--feature",
        "--no-tts",
        "--node",
        "--job",
        "--recent",
        "--top",
    ):
        assert option in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--feature", "yodel"], f"'yodel' is no feature; use one of {', '.join(FEATURES)}"),
        (["--job", "17"], "'17' is no job id; they look like job-1a2b3c4d-10000000001"),
        (["--no-asr", "--no-nmt", "--no-tts"], "a job uses at least one stage"),
        (["--job", "job-1a2b3c4d-1", "--recent", "3"], "each stands without any other"),
        (["--job", "job-1a2b3c4d-1", "--src", "en"], "each stands without any other"),
        (["--recent", "3", "--node", "node-A"], "each stands without any other"),
        (["--recent", "3", "--no-tts"], "each stands without any other"),
        (["--recent", "3", "--top", "0"], "each stands without any other"),
        (["--recent", "0"], "0 is not in the range"),
        (["--top", "-1"], "-1 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_answered_with_what_is_allowed(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ended(capsys, *options)
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
