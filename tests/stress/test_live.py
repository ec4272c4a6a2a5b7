import io

from msgspec.structs import replace
from rich.console import Console

from scheduler.stress.live import Lines, Screen, line, picture, show_on, sparkline
from scheduler.stress.messages import Batch
from scheduler.stress.progress import Collected, Progress
from tests.stress.samples import BEGIN_NS, MS, call, looks


def progress() -> Progress:
    collected = Collected(10)
    collected.take(0, Batch([call(0, 10), call(0, 10, "JOB_TIMEOUT")], sent=3, waiting=1))
    return collected.progress(BEGIN_NS, BEGIN_NS + 2_000 * MS, looks(), stopping=False)


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False)


def written(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def test_a_line_has_the_figures() -> None:
    text = line(progress())
    assert "10.0 ms" in text
    assert "1 open, 1 errors" in text
    assert "BROKEN" not in text
    assert "2 BROKEN PROMISES" in line(replace(progress(), violations=2))


def test_without_a_terminal_there_are_few_lines() -> None:
    where = console(terminal=False)
    with show_on(where, "A test") as show:
        assert isinstance(show, Lines)
        show.tell("starting [2] nodes")
        for tenth in range(50):
            show.update(replace(progress(), elapsed_seconds=tenth / 10))
    assert written(where).splitlines()[0] == "starting [2] nodes"
    assert len(written(where).splitlines()) == 4


def test_a_terminal_shows_a_picture_and_is_left_as_it_was() -> None:
    where = console(terminal=True)
    with show_on(where, "A test") as show:
        assert isinstance(show, Screen)
        show.tell("starting")
        show.update(progress())
    text = written(where)
    assert "A test" in text
    assert text.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in text  # the cursor is back


def test_the_picture_says_what_goes_on() -> None:
    where = console(terminal=False)
    where.print(picture("A test", progress()))
    text = written(where)
    for said in ("Ctrl-C ends early", "2 of 10 s", "dispatcher", "all kept", "10.0 ms"):
        assert said in text
    where = console(terminal=False)
    where.print(picture("A test", replace(progress(), stopping=True, violations=3, queued=None)))
    for said in ("waiting for what is open", "3 broken"):
        assert said in written(where)


def test_a_row_of_blocks_shows_how_values_went() -> None:
    assert sparkline([0, 4, 8]) == " ▄█"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "  "
