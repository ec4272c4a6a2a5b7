"""Tables of gateways and nodes, and how figures are written.

Names come from peers: whatever a terminal might take for a command in them is replaced.
"""

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from scheduler.top.frame import GatewayLine, NodeLine

_BAR_CELLS = 8
_BYTE_UNITS = ("B", "kB", "MB", "GB")

# Title, and the least width of a terminal that shows the column; the widths grow.
_Columns = tuple[tuple[str, int], ...]

_GATEWAY_COLUMNS: _Columns = (
    ("gateway", 0),
    ("sessions", 0),
    ("nodes", 0),
    ("live", 0),
    ("jobs/s", 0),
    ("failed/s", 70),
    ("msg/s in", 80),
    ("msg/s out", 90),
    ("in/s", 100),
    ("out/s", 110),
    ("sockets", 120),
    ("arena", 130),
)
_NODE_COLUMNS: _Columns = (
    ("node", 0),
    ("status", 0),
    ("load", 0),
    ("cpu", 60),
    ("gpu", 60),
    ("memory", 70),
    ("gpu mem", 80),
    ("beat", 80),
    ("gw", 90),
    ("services", 100),
    ("own jobs", 110),
    ("id", 130),
)
_LEFT_ALIGNED = {"node", "status", "load", "id"}

STATUS_STYLES = {
    "ready": "green",
    "registering": "cyan",
    "degraded": "yellow",
    "draining": "magenta",
    "offline": "red",
}


def gateway_table(gateways: list[GatewayLine], rows_max: int, width: int) -> Table:
    """Return those with most jobs, at most `rows_max`, in the order of their indices."""
    table, shown = _table_of(_GATEWAY_COLUMNS, width)
    busiest = sorted(gateways, key=lambda line: -line.jobs_live)[:rows_max]
    for line in sorted(busiest, key=lambda line: line.index):
        table.add_row(*_gateway_cells(line)[:shown])
    if len(gateways) > rows_max:
        table.caption = f"the {rows_max} with most jobs, of {len(gateways)}"
    return table


def _gateway_cells(line: GatewayLine) -> list[str]:
    rates = line.rates
    return [
        str(line.index),
        f"{line.sessions:,}",
        f"{line.nodes:,}",
        f"{line.jobs_live:,}",
        number(rates.jobs_completed_per_s),
        number(rates.jobs_failed_per_s),
        number(rates.messages_received_per_s),
        number(rates.messages_sent_per_s),
        byte_count(rates.bytes_received_per_s),
        byte_count(rates.bytes_sent_per_s),
        f"{line.connections:,}",
        byte_count(line.arena_used_bytes),
    ]


def node_table(lines: list[NodeLine], width: int) -> Table:
    """Return the nodes in the order given."""
    table, shown = _table_of(_NODE_COLUMNS, width)
    for line in lines:
        table.add_row(*_node_cells(line)[:shown])
    return table


def _node_cells(line: NodeLine) -> list[Text]:
    age_ms = line.heartbeat_age_ms
    return [
        Text(plain(line.name or line.node_id)),
        Text(line.status, STATUS_STYLES[line.status]),
        _load(line.in_flight, line.capacity),
        *(
            Text(f"{percent:.0f} %", "bold yellow" if percent >= 90 else "")
            for percent in (
                line.cpu_percent,
                line.gpu_percent,
                line.memory_percent,
                line.gpu_memory_percent,
            )
        ),
        Text("-" if age_ms is None else duration(age_ms / 1_000)),
        Text("-" if line.gateway is None else str(line.gateway)),
        Text(str(line.services_ready)),
        Text(str(line.external_jobs)),
        Text(plain(line.node_id), "dim"),
    ]


def _load(in_flight: int, capacity: int) -> Text:
    share = min(1.0, in_flight / capacity) if capacity else 0.0
    filled = round(share * _BAR_CELLS)
    style = "red" if share >= 1 else "yellow" if share >= 0.75 else "green"
    text = Text("█" * filled, style)
    text.append("░" * (_BAR_CELLS - filled), "dim")
    text.append(f" {in_flight}/{capacity}", "")
    return text


def plain_table() -> Table:
    """Return an empty table without lines between its cells."""
    return Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", caption_justify="left"
    )


def _table_of(columns: _Columns, width: int) -> tuple[Table, int]:
    """Return an empty table, and how many of the columns the terminal shows."""
    table = plain_table()
    shown = sum(width >= least for _, least in columns)
    for title, _ in columns[:shown]:
        justify: JustifyMethod = "left" if title in _LEFT_ALIGNED else "right"
        table.add_column(title, justify=justify, no_wrap=True)
    return table, shown


# --- figures ---------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return `text` without anything that a terminal might obey."""
    return "".join(c if c.isprintable() else "·" for c in text)


def number(value: float) -> str:
    """Return a count or rate, with a decimal where it says something."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"


def byte_count(value: float) -> str:
    """Return a number of bytes in decimal units."""
    unit = 0
    while value >= 1_000 and unit < len(_BYTE_UNITS) - 1:
        value /= 1_000
        unit += 1
    decimals = 1 if unit and value < 100 else 0
    return f"{value:.{decimals}f} {_BYTE_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, _ = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
