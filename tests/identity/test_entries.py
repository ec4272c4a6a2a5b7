"""Files of one entry a line, and what an operator is told about them."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ConfigError
from scheduler.identity.entries import FILE_BYTES_MAX, Entry, read_entries, read_file


def read(folder: Path, data: bytes) -> list[Entry]:
    path = folder / "entries"
    path.write_bytes(data)
    return read_entries("identity.some_path", str(path))


def test_lines_become_words_with_their_numbers(tmp_path: Path) -> None:
    text = "\ufeff# all of them\r\n\r\n  one 1  \n\ttwo\t2 x=y # since May\nthree 3 x=a#b\n"
    assert [entry[1:] for entry in read(tmp_path, text.encode())] == [
        (3, ["one", "1"]),
        (4, ["two", "2", "x=y"]),
        (5, ["three", "3", "x=a#b"]),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing yet\n"])
def test_a_file_without_entries_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"identity\.some_path = '.*entries' has no entry"):
        read(tmp_path, data)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read(tmp_path, b"one \xff")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError) as caught:
        read_file("identity.some_path", missing)
    assert str(caught.value) == (
        f"identity.some_path = '{missing}' can't be read: No such file or directory; name a file "
        "that this user may read"
    )
    with pytest.raises(ConfigError, match="Is a directory"):
        read_file("identity.some_path", tmp_path)


def test_a_name_that_no_file_can_have_is_one_that_can_not_be_read() -> None:
    with pytest.raises(ConfigError, match="can't be read: embedded null byte"):
        read_file("k", "a\0b")


def test_a_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * FILE_BYTES_MAX)
    assert len(read_file("k", path)) == FILE_BYTES_MAX
    path.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match=f"is longer than {FILE_BYTES_MAX} bytes"):
        read_file("k", path)


def options(*words: str) -> dict[str, str]:
    return Entry("tokens", 7, ["name", "value", *words]).options(2, ("tenant", "expires"))


def test_options_are_taken_apart() -> None:
    assert options("tenant=a=b", "expires=x") == {"tenant": "a=b", "expires": "x"}
    assert options() == {}


@pytest.mark.parametrize(
    "word", ["tenant", "tenant=", "node_id=1", "=x", "secret-in-a-wrong-place"]
)
def test_other_options_are_refused_unseen(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(word)
    assert str(caught.value) == (
        "tokens, line 7: after word 2 only options may come: tenant=…, expires=…"
    )


def test_an_option_stands_once() -> None:
    with pytest.raises(ConfigError, match=r"^tokens, line 7: tenant= stands twice$"):
        options("tenant=a", "tenant=a")


@given(st.text(max_size=60))
def test_any_option_is_taken_whole_or_refused(word: str) -> None:
    with suppress(ConfigError):
        assert [f"{name}={text}" for name, text in options(word).items()] == [word]
