"""Lays out past decisions for a terminal of any width: one job's at length, others as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from scheduler.explain.history import History, NodeName, PastDecision
from scheduler.explain.layout import Column, labelled, node_name, services_text, table
from scheduler.explain.words import counted, listed, load_text, ranked
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.decisions import Outcome
from scheduler.top.tables import plain

GONE = "a node that is gone"
NO_NODES = "no node was registered"

_TIMES = "\N{MULTIPLICATION SIGN}"

_COLUMNS = (
    Column("time"),
    Column("job"),
    Column("try", justify="right"),
    Column("outcome"),
    Column("node, or why none", flexible=True),
    Column("load", 100, "right"),
    Column("runner-up", 130, width_max=16),
    Column("load", 130, "right"),
    Column("eligible", 110, "right"),
    Column("waiting", 110, "right"),
    Column("shadow", 150, width_max=16),
)
_OUTCOMES: dict[str, tuple[str, str]] = {
    "placed": ("placed at once", "green"),
    "served": ("placed after it had waited", "green"),
    "queued": ("had to wait", "yellow"),
    "refused": (f"refused with {ErrorCode.SERVER_BUSY}: too many jobs waited", "red"),
    "expired": ("given up: it had waited too long", "red"),
}
assert set(_OUTCOMES) == {outcome.name.lower() for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class HistoryScreen:
    """A history, ready to be printed."""

    history: History

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Say when, what came of it, and what there was to choose from."""
        shown = self.history
        if not shown.decisions:
            yield Text("No decision is recorded yet: no job has come to the dispatcher.")
        elif shown.job_id is None:
            rows = (_row(one, shown) for one in shown.decisions)
            yield table(_COLUMNS, rows, options.max_width)
            yield from _record(shown)
        else:
            yield Text(f"{shown.job_id}: {counted(len(shown.decisions), 'decision')}", "bold")
            for one in shown.decisions:
                yield ""
                yield labelled(_lines(one, shown))


def _record(shown: History) -> Iterator[Text]:
    record = shown.record
    if record.unrecorded_total:
        yield Text(
            f"{record.unrecorded_total:,} decisions of this run were beyond what may be recorded",
            "yellow",
        )


def _row(one: PastDecision, shown: History) -> list[Text]:
    return [
        Text(_time(one, shown)),
        Text(one.job_id),
        Text(str(one.attempt)),
        Text(one.outcome, _OUTCOMES[one.outcome][1]),
        _node_or_why(one),
        Text(_load(one.load, shown)),
        Text(_short(one.runner_up)),
        Text(_load(one.runner_up_load, shown)),
        Text(f"{one.eligible:,}"),
        Text(f"{one.queued:,}"),
        Text("same" if one.shadow and one.shadow == one.node else _short(one.shadow)),
    ]


def _node_or_why(one: PastDecision) -> Text:
    reasons = ", ".join(f"{count:,}{_TIMES}{reason}" for reason, count in ranked(one.excluded))
    text, style = (reasons or NO_NODES, "yellow") if one.node is None else (_short(one.node), "")
    # On one line, whatever the terminal: this is a list to look through.
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _lines(one: PastDecision, shown: History) -> Iterator[tuple[str, str | Text]]:
    text, style = _OUTCOMES[one.outcome]
    yield _time(one, shown), Text(f"attempt {one.attempt}: {text}", style)
    if one.node is not None:
        yield "node", f"{_long(one.node)}, load {_load(one.load, shown)} before this job"
        yield from _alternatives(one, shown)
    else:
        yield "why", listed(one.excluded) or NO_NODES
    if one.services is None:
        yield "needs", "not known: an earlier dispatcher decided"
    else:
        yield "needs", services_text(one.services)
    yield "waiting", f"{counted(one.queued, 'job')} at that moment"


def _alternatives(one: PastDecision, shown: History) -> Iterator[tuple[str, str | Text]]:
    if one.paired is not None:
        yield "paired", "the session was paired with that node: no other was looked at"
        return
    if one.runner_up is None:
        yield "runner-up", "none: no other node could take this job"
    else:
        yield "runner-up", f"{_long(one.runner_up)}, load {_load(one.runner_up_load, shown)}"
    too = ", with those that had failed this one" if one.attempt > 1 else ""
    yield "eligible", f"{counted(one.eligible, 'node')} for such a job{too}"
    if one.shadow is not None:
        same = "the same node" if one.shadow == one.node else _long(one.shadow)
        yield "shadow", f"{shown.shadow_strategy} would have chosen {same}"


def _time(one: PastDecision, shown: History) -> str:
    """Return the time of day, with the date where that isn't today's."""
    moment, today = (
        datetime.fromtimestamp(at_ms / 1_000).astimezone() for at_ms in (one.at_ms, shown.at_ms)
    )
    date = "" if moment.date() == today.date() else f"{moment:%Y-%m-%d} "
    return f"{date}{moment:%H:%M:%S}.{one.at_ms % 1_000:03}"


def _load(load: int | None, shown: History) -> str:
    return "" if load is None else load_text(load, shown.strategy)


def _short(node: NodeName | None) -> str:
    return "" if node is None else plain(node.name or node.node_id or "gone")


def _long(node: NodeName) -> str:
    return GONE if node.node_id is None else node_name(node.node_id, node.name or "")
