import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from scheduler.explain.layout import Column, labelled, node_name, services_text, table


def printed(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_long_line_goes_on_below_its_beginning() -> None:
    lines = printed(labelled([("job", "one two three four five"), ("", Text("six"))]), 24)
    assert lines == ["job        one two three", "           four five", "           six"]


COLUMNS = (
    Column("a", width_max=4),
    Column("b", 30, "right"),
    Column("c", flexible=True),
)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (29, ["a     c", "lon…  one two three four"]),
        (30, ["a     b  c", "lon…  2  one two three four"]),
        (14, ["a     c", "lon…  one two", "      three", "      four"]),
    ],
)
def test_a_table_fits_the_terminal(width: int, lines: list[str]) -> None:
    assert printed(table(COLUMNS, [["longer", "2", "one two three four"]], width), width) == lines


def test_a_node_is_called_by_its_name_and_id() -> None:
    assert node_name("node-A", "one") == "one (node-A)"
    assert node_name("node-A", "node-A") == node_name("node-A", "") == "node-A"
    assert node_name("node-A", "o\x1bne") == "o·ne (node-A)"


def test_services_are_listed_or_said_to_be_none() -> None:
    assert services_text(["asr", "nmt"]) == "asr + nmt"
    assert services_text([]) == "no service"
