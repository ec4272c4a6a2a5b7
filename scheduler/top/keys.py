"""Single keys from a terminal, without waiting for Enter."""

import re
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto


class Key(Enum):
    """What a key asks for."""

    QUIT = auto()
    SORT = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()


# Arrows come in two forms: terminals in "application mode" send O for [.
_KEYS = {
    b"q": Key.QUIT,
    b"s": Key.SORT,
    b"\x1b[A": Key.UP,
    b"\x1bOA": Key.UP,
    b"\x1b[B": Key.DOWN,
    b"\x1bOB": Key.DOWN,
    b"\x1b[5~": Key.PAGE_UP,
    b"\x1b[6~": Key.PAGE_DOWN,
}
_ONE_KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


def parse_keys(data: bytes) -> list[Key]:
    """Return the keys pressed; those without a meaning are left out."""
    return [_KEYS[part] for part in _ONE_KEY.findall(data) if part in _KEYS]


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Have the terminal `fd` hand over each key unechoed; Ctrl-C still is a signal."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)
