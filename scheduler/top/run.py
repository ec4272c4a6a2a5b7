"""The `top` command: looks, draws, obeys keys; or prints one frame."""

import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec
import numpy as np
from rich.console import Console, RenderableType
from rich.live import Live

from scheduler.errors import LayoutError
from scheduler.top.frame import Frame, NodeLine, make_frame, node_lines
from scheduler.top.keys import Key, parse_keys, single_keys
from scheduler.top.reading import Sample, Watcher
from scheduler.top.screen import Screen, View, waiting

PIPE_COLUMNS = 132
"""Width of what goes to a file or pipe."""

_KEY_BYTES = 1_024
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Report(msgspec.Struct, frozen=True):
    """What `--once --json` prints."""

    frame: Frame
    nodes: list[NodeLine]


def print_once(runtime_dir: Path, interval_seconds: float, *, as_json: bool) -> None:
    """Print the figures of one interval that begins now; raise LayoutError where nothing runs."""
    with closing(Watcher(runtime_dir)) as watcher:
        before = watcher.look()
        time.sleep(interval_seconds)
        sample = watcher.look()
    if sample.epoch != before.epoch:  # it was restarted meanwhile
        before = sample
    frame = make_frame(before, sample)
    if as_json:
        table = sample.reading.table
        nodes = node_lines(table, np.arange(len(table["status"])), sample.now_ns)
        sys.stdout.buffer.write(msgspec.json.encode(Report(frame, nodes)) + b"\n")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    console.print(Screen(frame, sample, view=None))


def run_live(runtime_dir: Path, interval_seconds: float) -> None:
    """Show the scheduler until q or a signal; Ctrl-C raises KeyboardInterrupt.

    The terminal is left as it was found, whatever ends this.
    """
    console = Console(highlight=False)
    with closing(Watcher(runtime_dir)) as watcher:
        Top(watcher, console, interval_seconds).run()


class Top:
    """The live view."""

    def __init__(self, watcher: Watcher, console: Console, interval_seconds: float) -> None:
        self._watcher = watcher
        self._console = console
        self._interval_seconds = interval_seconds
        self._view = View()
        self._sample: Sample | None = None
        self._frame: Frame | None = None

    def run(self) -> None:
        """Look and draw until there is a reason to end."""
        keys = sys.stdin.isatty()
        with (
            _signals() as resized_fd,
            single_keys(sys.stdin.fileno()) if keys else nullcontext(),
            Live(console=self._console, screen=True, auto_refresh=False) as live,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(resized_fd, selectors.EVENT_READ)
            if keys:
                selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                shown = self.look()
                live.update(shown, refresh=True)
                look_at = time.monotonic() + self._interval_seconds
                while (left := look_at - time.monotonic()) > 0:
                    ready = selector.select(left)
                    for key, _ in ready:
                        if not self._obey(os.read(key.fd, _KEY_BYTES), is_key=key.fd != resized_fd):
                            return
                    if ready:
                        live.refresh()

    def look(self) -> RenderableType:
        """Return what is to be shown now."""
        try:
            sample = self._watcher.look()
        except LayoutError as error:
            if self._frame is None or self._sample is None:
                return waiting(str(self._watcher.path), str(error))
            trouble = f"The scheduler is gone; these are its last figures. Waiting: {error}"
            return Screen(self._frame, self._sample, self._view, trouble)
        before = self._sample
        if before is not None and before.epoch != sample.epoch:
            before = None
        self._sample, self._frame = sample, make_frame(before, sample)
        return Screen(self._frame, sample, self._view)

    def _obey(self, data: bytes, *, is_key: bool) -> bool:
        """Carry out keys; return whether to go on. A new size needs nothing but a new drawing."""
        if not is_key:
            return True
        for key in parse_keys(data):
            match key:
                case Key.QUIT:
                    return False
                case Key.SORT:
                    self._view.order = self._view.order.next
                case Key.UP:
                    self._view.scroll(-1)
                case Key.DOWN:
                    self._view.scroll(1)
                case Key.PAGE_UP:
                    self._view.scroll(-self._view.page)
                case Key.PAGE_DOWN:
                    self._view.scroll(self._view.page)
        return bool(data)  # the terminal's end of file would come again and again


@contextmanager
def _signals() -> Iterator[int]:
    """Yield a descriptor that is readable when the terminal was resized.

    SIGTERM and SIGHUP, which would end the process without tidying up, raise SystemExit.
    """
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {number: signal.signal(number, _exit) for number in _ENDING}
    before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
    wakeup_before = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
