import os
import termios
from collections.abc import Iterator

import pytest

from scheduler.top.keys import Key, parse_keys, single_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", [Key.QUIT]),
        (b"\x1b[A\x1bOBs", [Key.UP, Key.DOWN, Key.SORT]),
        (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        (b"\x1b[1;5Aq", [Key.QUIT]),
        (b"\x1b[15~", []),
        (b"xyz\x00\xff\n\x1b", []),
        (b"", []),
    ],
)
def test_keys_are_told_apart(data: bytes, keys: list[Key]) -> None:
    assert parse_keys(data) == keys


@pytest.fixture
def terminal() -> Iterator[int]:
    ours, theirs = os.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


def flags(fd: int) -> int:
    local: int = termios.tcgetattr(fd)[3]
    return local


def leave_by_an_error(terminal: int) -> None:
    with single_keys(terminal):
        assert not flags(terminal) & (termios.ICANON | termios.ECHO)
        assert flags(terminal) & termios.ISIG
        raise ZeroDivisionError


def test_the_terminal_gets_its_mode_back_whatever_happens(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with pytest.raises(ZeroDivisionError):
        leave_by_an_error(terminal)
    assert termios.tcgetattr(terminal) == before
