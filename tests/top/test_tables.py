import pytest
from rich.console import Console

from scheduler.protocol.status import Status
from scheduler.top.frame import GatewayLine, NodeLine, Rates
from scheduler.top.tables import (
    STATUS_STYLES,
    byte_count,
    duration,
    gateway_table,
    node_table,
    number,
    plain,
)

IDLE = Rates(0, 0, 0, 0, 0, 0, 0, 0, 0)


def gateway(index: int, jobs_live: int) -> GatewayLine:
    return GatewayLine(index, 9, 8, 7, jobs_live, 1_024, IDLE)


def node(name: str, in_flight: int = 1, capacity: int = 4) -> NodeLine:
    return NodeLine("id-1", name, "ready", in_flight, capacity, 0, 0, True, 1, 2, 3, 95, None, 3)


def printed(table: object, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_each_status_has_its_colour() -> None:
    assert set(STATUS_STYLES) == {status.wire for status in Status if status is not Status.FREE}


def test_the_busiest_gateways_are_shown_in_their_order() -> None:
    lines = printed(
        gateway_table([gateway(i, jobs) for i, jobs in enumerate((5, 1, 9))], 2, 50), 50
    )
    assert [line.split()[0] for line in lines[1:3]] == ["0", "2"]
    assert lines[3] == "the 2 with most jobs, of 3"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140])
def test_tables_fit_the_terminal_with_whole_figures(width: int) -> None:
    table = node_table([node("a", in_flight=3)], width)
    head, row = printed(table, width)
    assert ("cpu" in head, "services" in head) == (width >= 60, width >= 100)
    assert "3/4" in row
    assert "…" not in row
    head, row = printed(gateway_table([gateway(0, 5)], 1, width), width)
    assert "…" not in head + row


@pytest.mark.parametrize(
    ("in_flight", "capacity", "bar"),
    [(0, 4, "░" * 8), (4, 4, "█" * 8), (9, 4, "█" * 8), (0, 0, "░" * 8)],
)
def test_load_is_drawn(in_flight: int, capacity: int, bar: str) -> None:
    assert (
        f"{bar} {in_flight}/{capacity}"
        in printed(node_table([node("a", in_flight, capacity)], 50), 50)[1]
    )


def test_names_cannot_command_the_terminal() -> None:
    text = "\n".join(printed(node_table([node("\x1b]0;owned\x07[red]x\u202e\n")], 80), 80))
    assert "\x1b" not in text
    assert "·]0;owned·[red]x··" in text
    assert plain("Köln 東京") == "Köln 東京"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.25, "0.2"), (7.0, "7"), (123.6, "124"), (12_345.0, "12,345")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (250e6, "250 MB"), (5e12, "5000 GB")],
)
def test_byte_counts(value: float, text: str) -> None:
    assert byte_count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.04, "1.0 s"), (61, "1 min"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
