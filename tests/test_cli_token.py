"""What `token new` prints is what the files take."""

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from scheduler.cli_token import token
from scheduler.identity.credentials import TokenEntry
from scheduler.identity.tokens import NODE_OPTIONS, SESSION_OPTIONS, digest_of, read_tokens


def made(
    folder: Path, *arguments: str, options: tuple[str, ...] = SESSION_OPTIONS
) -> tuple[str, TokenEntry]:
    """Run it; return the token and the entry that its line reads as."""
    result = CliRunner().invoke(token, ["new", *arguments])
    assert result.exit_code == 0, result.output
    shown, line = result.stdout.splitlines()
    assert shown not in result.stderr
    assert result.output.count(shown) == 1
    path = folder / "tokens"
    path.write_text(f"{line}\n")
    (entry,) = read_tokens("identity.session_tokens_path", str(path), options)
    assert entry.digest == digest_of(shown)
    return shown, entry


def test_two_are_never_the_same(tmp_path: Path) -> None:
    assert made(tmp_path)[0] != made(tmp_path)[0]


def test_the_line_says_what_was_asked_for(tmp_path: Path) -> None:
    _, plain = made(tmp_path)
    assert (plain.name, plain.tenant, plain.node_id, plain.expires_s) == ("peer", "", "", 0)
    before = int(time.time())
    _, entry = made(tmp_path, "--name", "web", "--tenant", "acme", "--days", "2")
    assert (entry.name, entry.tenant) == ("web", "acme")
    assert before <= entry.expires_s - 2 * 86_400 <= time.time() + 1
    _, node = made(tmp_path, "--node-id", "node-7", options=NODE_OPTIONS)
    assert node.node_id == "node-7"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([], "identity.session_tokens_path, or of identity.node_tokens_path"),
        (["--tenant", "acme"], "identity.session_tokens_path:"),
        (["--node-id", "n"], "identity.node_tokens_path:"),
    ],
)
def test_it_says_into_which_file_the_line_goes(arguments: list[str], file: str) -> None:
    result = CliRunner().invoke(token, ["new", *arguments])
    assert f"line for the file of {file}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "two words"], "--name: must be one printable word"),
        (["--name", ""], "--name: must be one printable word"),
        (["--name", "#1"], "--name: must be one printable word"),
        (["--tenant", "t" * 257], "--tenant: must be one printable word of at most 256"),
        (["--node-id", "a\tb"], "--node-id: must be one printable word"),
        (["--tenant", "t", "--node-id", "n"], "make a token for each"),
        (["--days", "0"], "--days"),
        (["--days", "nan"], "--days"),
    ],
)
def test_what_can_not_stand_in_a_line_is_refused(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(token, ["new", *arguments])
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
