"""Lays a frame out for a terminal of any size."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    RenderableType,
    RenderResult,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from scheduler.memory.layout import LATENCY_SUMS
from scheduler.stats.health import missing
from scheduler.stats.schema import Audit, ProcessHealth
from scheduler.top.frame import Frame, Latency, Order, node_lines, sorted_rows
from scheduler.top.reading import Sample
from scheduler.top.tables import (
    STATUS_STYLES,
    byte_count,
    duration,
    gateway_table,
    node_table,
    number,
    plain,
    plain_table,
)

KEYS_HELP = "q quit   s sort   ↑ ↓ PgUp PgDn scroll"

_SIDE_BY_SIDE_COLUMNS = 100
"""Terminals at least so wide show latencies and queue beside each other."""

_GATEWAYS_SHARE, _LATENCIES_SHARE = 4, 6
"""They take at most one line in so many, so that nodes have room."""

_FIXED_LINES = 3
"""Two headlines of the nodes, and the keys."""

_QUEUES_MAX = 4


@dataclass(slots=True)
class View:
    """What the person at the terminal chose. `first` is the first row of nodes shown."""

    order: Order = Order.LOAD
    first: int = 0
    page: int = 1
    """Rows of nodes that fitted last."""

    def scroll(self, rows: int) -> None:
        """Move down by `rows`; the end is found out when it is drawn."""
        self.first = max(0, self.first + rows)


@dataclass(frozen=True, slots=True)
class Screen:
    """A frame and the sample that it was made of, ready to be printed.

    `trouble` says why they are old. A `view` of None shows all nodes on as many lines as it
    takes, for `--once`.
    """

    frame: Frame
    sample: Sample
    view: View | None
    trouble: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the terminal: the sections above take what they need, nodes the rest."""
        width = options.max_width
        height = None if self.view is None else options.height or console.height
        sections = self._sections(width, height)
        if height is None or self.view is None:
            yield Group(*sections, self._nodes(Order.LOAD, 0, None, width))
            return
        options = options.update(height=None)
        lines = [
            line
            for section in sections
            for line in console.render_lines(section, options, pad=False)
        ]
        self.view.page = max(1, height - len(lines) - _FIXED_LINES)
        total = len(self.sample.reading.table["status"])
        self.view.first = min(self.view.first, max(0, total - self.view.page))
        nodes = self._nodes(self.view.order, self.view.first, self.view.page, width)
        lines += console.render_lines(nodes, options, pad=False)
        for line in lines[: height - 1]:
            yield from line
            yield Segment.line()
        if len(lines) < height - 1:
            yield Segment("\n" * (height - 1 - len(lines)))
        yield Text(KEYS_HELP, style="dim", no_wrap=True, overflow="ellipsis", end="")

    def _sections(self, width: int, height: int | None) -> list[RenderableType]:
        frame = self.frame
        gateways_max = len(frame.gateways) if height is None else max(1, height // _GATEWAYS_SHARE)
        latencies_max = None if height is None else max(2, height // _LATENCIES_SHARE)
        latency, queue = _latency_table(frame, latencies_max), _queue_lines(frame)
        middle: list[RenderableType] = [latency, queue]
        if width >= _SIDE_BY_SIDE_COLUMNS:
            grid = Table.grid(padding=(0, 4), pad_edge=False)
            grid.add_row(latency, queue)
            middle = [grid]
        return [
            *([Text(self.trouble, style="bold white on red")] if self.trouble else []),
            _headline(frame),
            _processes(frame.processes),
            *_problems(frame.processes),
            *_audit(frame.audit),
            *_rates(frame),
            *middle,
            gateway_table(frame.gateways, gateways_max, width),
        ]

    def _nodes(self, order: Order, first: int, rows_max: int | None, width: int) -> Group:
        table = self.sample.reading.table
        rows = sorted_rows(table, order)
        last = len(rows) if rows_max is None else min(len(rows), first + rows_max)
        shown = node_lines(table, rows[first:last], self.sample.now_ns)
        return Group(
            _nodes_headline(self.frame, len(rows), first, last, order), node_table(shown, width)
        )


def waiting(path: str, reason: str) -> Text:
    """Return what is shown before any scheduler was seen."""
    return Text(f"No scheduler to show: {plain(reason)}\nWaiting for one at {path} … (q quits)")


# --- the scheduler ---------------------------------------------------------------------------


def _headline(frame: Frame) -> Text:
    clock = datetime.fromtimestamp(frame.at_ms / 1_000).astimezone().strftime("%H:%M:%S")
    return _line(
        ("lingua-scheduler ", "bold"),
        (frame.version, "bold"),
        f"   up {duration(frame.uptime_s)}   dispatcher generation {frame.generation}",
        f"   {clock}   of the last {duration(frame.interval_s)}",
    )


def _processes(processes: list[ProcessHealth]) -> Text:
    text = Text()
    for process in processes:
        well = process.fresh and process.ready
        name = f"gateway {process.index}" if process.role == "gateway" else process.role
        text.append("● ", "green" if well else "bold red")
        text.append(f"{name.replace(' ', chr(0xA0))}")
        if process.restarts:
            text.append(f" ↻{process.restarts}", "yellow")
        text.append("  ")
    text.rstrip()
    return text


def _problems(processes: list[ProcessHealth]) -> Iterable[Text]:
    # Of a snapshot nothing is known, nor needed, here: its age is left at 0.
    problems = missing(processes, snapshot_age_ns=0, refresh_seconds=1)
    if problems:
        yield _line(("; ".join(problems), "bold red"))


def _audit(audit: Audit) -> Iterable[Text]:
    if audit.differing_nodes:
        names = [plain(node.node_id) for node in audit.differing]
        if audit.differing_nodes > len(names):
            names.append(f"{audit.differing_nodes - len(names)} more")
        yield _line((f"load counted wrongly: {', '.join(names)}", "bold red"))
    righted = {
        "slots freed": audit.slots_freed_total,
        "rows rescored": audit.rows_rescored_total,
        "attempts dropped": audit.attempts_dropped_total,
        "jobs overdue": audit.jobs_overdue_total,
    }
    if any(righted.values()):
        parts = ", ".join(f"{what} {count:,}" for what, count in righted.items() if count)
        yield _line((f"load put right since the start: {parts}", "yellow"))


def _rates(frame: Frame) -> Iterable[Text]:
    rates = frame.rates
    yield Text.assemble(
        ("jobs/s   ", "bold"),
        *_labelled("accepted", number(rates.jobs_accepted_per_s)),
        *_labelled("completed", number(rates.jobs_completed_per_s)),
        *_labelled("failed", number(rates.jobs_failed_per_s), "bold red"),
        *_labelled("refused", number(rates.jobs_refused_per_s), "bold yellow"),
        *_labelled("live", f"{frame.jobs_live:,}"),
    )
    yield Text.assemble(
        ("traffic  ", "bold"),
        *_labelled("in", f"{number(rates.messages_received_per_s)} msg/s"),
        f"{byte_count(rates.bytes_received_per_s)}/s   ",
        *_labelled("out", f"{number(rates.messages_sent_per_s)} msg/s"),
        f"{byte_count(rates.bytes_sent_per_s)}/s",
    )


def _latency_table(frame: Frame, rows_max: int | None) -> Table:
    table = plain_table()
    table.add_column("latency, ms")
    for name in ("jobs", "p50", "p90", "p99"):
        table.add_column(name, justify="right", min_width=7)
    # What stages add up to comes first: on a low terminal that is all there is room for.
    names = [
        *reversed(LATENCY_SUMS),
        *(name for name in frame.latency if name not in LATENCY_SUMS),
    ]
    for name in names[:rows_max]:
        latency = frame.latency[name]
        table.add_row(name.replace("_", " "), f"{latency.count:,}", *_percentiles(latency))
    return table


def _percentiles(latency: Latency) -> list[str]:
    values = (latency.p50_ms, latency.p90_ms, latency.p99_ms)
    return ["-" if value is None else f"{value:,.1f}" for value in values]


def _queue_lines(frame: Frame) -> Group:
    style = "bold yellow" if frame.queued else ""
    head = _line(
        ("queue  ", "bold"),
        (f"{frame.queued:,} waiting", style),
        f", the oldest {frame.oldest_wait_ms / 1_000:.1f} s" if frame.oldest_wait_ms else "",
        f"; {frame.in_flight:,} in flight",
    )
    lines = [
        _line(f"  {queue.queued:>6,}  ", (plain(" + ".join(queue.services)) or "any node", "cyan"))
        for queue in frame.queues[:_QUEUES_MAX]
    ]
    rest = frame.queues[_QUEUES_MAX:]
    if rest:
        jobs = sum(queue.queued for queue in rest)
        lines.append(_line(f"  {jobs:>6,}  in {len(rest)} more classes"))
    return Group(head, *lines)


def _nodes_headline(frame: Frame, total: int, first: int, last: int, order: Order) -> Text:
    text = _line(("nodes  ", "bold"))
    for status, count in frame.node_counts.items():
        if count:
            text.append(f"{count:,} {status}  ", STATUS_STYLES[status])
    text.append(f"{frame.in_flight:,} of {frame.slots:,} slots  ")
    if last - first < total:
        text.append(f"rows {first + 1}-{last} of {total:,}, ")
    text.append(f"by {order.value}", "dim")
    return text


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _labelled(label: str, value: str, style: str = "") -> tuple[str | tuple[str, str], ...]:
    """Return parts of a line; the style is for values that aren't 0."""
    return (f"{label} ", "dim"), (value, style if value != "0" else ""), "  "
