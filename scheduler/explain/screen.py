"""Lays out what would become of a job for a terminal of any width."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from scheduler.explain.explanation import Explanation, NodeVerdict
from scheduler.explain.layout import Column, labelled, node_name, services_text, table
from scheduler.explain.words import MEANINGS, STRATEGIES, counted, load_text, ranked
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.requirements import STAGES
from scheduler.top.tables import STATUS_STYLES, plain

_REASON_COLUMNS = (
    Column("why not"),
    Column("nodes", justify="right"),
    Column("slots", justify="right"),
    Column("such a node", flexible=True),
)
_NODE_COLUMNS = (
    Column("#", justify="right"),
    Column("node", width_max=32),
    Column("load", justify="right"),
    Column("turn", 70, "right"),
    Column("slots", justify="right"),
    Column("own jobs", 110, "right"),
    Column("cpu", 90, "right"),
    Column("gpu", 100, "right"),
    Column("memory", 100, "right"),
    Column("status", 120),
    Column("id", 130, width_max=32),
    Column("remark", flexible=True),
)
_ACTION_STYLES = {"placed": "bold green", "waits": "bold yellow", "refused": "bold red"}
_RANK_STYLES: dict[int | None, str] = {1: "bold green", 2: "green"}


@dataclass(frozen=True, slots=True)
class ExplanationScreen:
    """An explanation, ready to be printed."""

    explanation: Explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Say it in a few lines first, then why not which nodes, then node by node."""
        shown, width = self.explanation, options.max_width
        yield labelled(_lines(shown))
        if shown.excluded and shown.asked.node is None:
            yield ""
            yield table(_REASON_COLUMNS, _reason_rows(shown), width)
        if shown.nodes:
            yield ""
            yield table(_NODE_COLUMNS, (_node_row(one, shown) for one in shown.nodes), width)
            rest = shown.nodes_total - len(shown.nodes)
            if rest:
                yield Text(f"… and {rest:,} more; --top 0 shows all")


def _lines(shown: Explanation) -> Iterator[tuple[str, str | Text]]:
    yield "job", _asked(shown)
    yield "needs", services_text(shown.services)
    yield "now", _outlook(shown)
    yield "", shown.outlook.because
    if shown.chosen is not None and shown.outlook.action != "placed":
        yield "choice", _node(shown.chosen, shown)
    if shown.runner_up is not None:
        yield "runner-up", _node(shown.runner_up, shown)
    yield "rule", _rule(shown)
    yield "room", _room(shown)
    yield "queue", _queue(shown)
    for note in shown.notes:
        yield "note", plain(note)


def _asked(shown: Explanation) -> str:
    asked = shown.asked
    parts = [" + ".join(stage for stage in STAGES if stage in asked.stages)]
    if asked.src_lang or asked.tgt_lang:
        parts.insert(0, f"{asked.src_lang or 'any'} → {asked.tgt_lang or 'any'}")
    parts += asked.features
    if asked.node is not None:
        parts.append(f"paired with {asked.node}")
    return plain(", ".join(parts))


def _outlook(shown: Explanation) -> Text:
    outlook = shown.outlook
    if outlook.action == "placed":
        assert shown.chosen is not None
        text = f"would go to {_node(shown.chosen, shown)}"
    elif outlook.action == "refused":
        text = f"would be refused with {ErrorCode.SERVER_BUSY}"
    elif outlook.wait_seconds_max is None:
        text = "would wait"
    else:
        text = (
            f"would wait for a node, after {outlook.wait_seconds_max:g} s "
            f"fail with {ErrorCode.NO_AVAILABLE_NODE}"
        )
    return Text(text, _ACTION_STYLES[outlook.action])


def _node(one: NodeVerdict, shown: Explanation) -> str:
    taken = one.in_flight + one.external_jobs
    load = load_text(one.load, shown.strategy)
    return f"{node_name(one.node_id, one.name)}: load {load}, slots {taken}/{one.capacity}"


def _rule(shown: Explanation) -> str:
    if shown.asked.node is not None:
        return "a paired job looks at its node alone, whatever its load"
    return f"{shown.strategy}: {STRATEGIES[shown.strategy]}, then who was chosen longest ago"


def _room(shown: Explanation) -> str:
    if shown.asked.node is not None:
        return f"{counted(shown.free_slots, 'free slot')} on that node"
    if not shown.eligible:
        return f"none of {counted(shown.nodes_total, 'node')} can take it"
    return (
        f"{shown.eligible:,} of {counted(shown.nodes_total, 'node')} can take it, "
        f"with {counted(shown.free_slots, 'free slot')}"
    )


def _queue(shown: Explanation) -> str:
    if not shown.queued_total:
        return "no job waits"
    if shown.asked.node is not None:
        return f"{counted(shown.queued_total, 'job')} waiting in all"
    return (
        f"{counted(shown.queued, 'job')} waiting for these services, {shown.queued_total:,} in all"
    )


def _reason_rows(shown: Explanation) -> Iterator[list[str]]:
    for reason, nodes in ranked({reason: one.nodes for reason, one in shown.excluded.items()}):
        yield [reason, f"{nodes:,}", f"{shown.excluded[reason].slots:,}", MEANINGS[reason]]


def _node_row(one: NodeVerdict, shown: Explanation) -> list[Text]:
    taken = one.in_flight + one.external_jobs
    remark = ": ".join(part for part in (one.reason, one.detail) if part)
    return [
        Text("" if one.rank is None else str(one.rank)),
        Text(plain(one.name or one.node_id), _RANK_STYLES.get(one.rank, "")),
        Text(load_text(one.load, shown.strategy)),
        Text(_turn(one, shown)),
        Text(f"{taken}/{one.capacity}"),
        Text(str(one.external_jobs)),
        *(
            Text(f"{percent:.0f} %")
            for percent in (one.cpu_percent, one.gpu_percent, one.memory_percent)
        ),
        Text(one.status, STATUS_STYLES[one.status]),
        Text(plain(one.node_id), "dim"),
        Text(plain(remark), "yellow" if one.reason else ""),
    ]


def _turn(one: NodeVerdict, shown: Explanation) -> str:
    if one.turn is None:
        return "" if one.reason else "?"
    if shown.asked.node is not None:
        return ""
    return f"{one.turn:,}" if one.turn else "never"
