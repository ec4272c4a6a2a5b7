"""The `explain` command: looks, and prints."""

import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console, RenderableType

from scheduler.explain.ask import Ask, find_node
from scheduler.explain.explanation import Explanation, make_explanation
from scheduler.explain.history import History, make_history
from scheduler.explain.history_screen import HistoryScreen
from scheduler.explain.jobs import history_of_job
from scheduler.explain.reading import Running, attach, look
from scheduler.explain.screen import ExplanationScreen
from scheduler.explain.verdicts import judge
from scheduler.memory.decisions import read_decisions
from scheduler.protocol.ids import NO_NODE
from scheduler.top.run import PIPE_COLUMNS

NODES_SHOWN = 40

_LOOKS_MAX = 6
_BETWEEN_LOOKS_SECONDS = 0.03
"""Together longer than the dispatcher leaves what nodes report unseen (core.REFRESH_NS)."""


def explain_ask(runtime_dir: Path, ask: Ask, nodes_max: int | None, *, as_json: bool) -> None:
    """Print what would become of a job; `nodes_max` bounds the nodes listed, None: as usual.

    Raises LayoutError where no scheduler runs, NotFoundError where the paired node isn't known.
    """
    if nodes_max is None and not as_json:
        nodes_max = NODES_SHOWN
    with attach(runtime_dir) as running:
        explanation = _explain(running, ask, nodes_max or None)
    _print(explanation, ExplanationScreen(explanation), as_json=as_json)


def _explain(running: Running, ask: Ask, nodes_max: int | None) -> Explanation:
    """Look again while scores and figures disagree, which a refresh of the dispatcher mends."""
    balance = running.config.scheduler.load_balancer
    for left in reversed(range(_LOOKS_MAX)):
        seen = look(running, ask.requirement)
        verdicts = judge(
            seen.nodes,
            balance,
            seen.words,
            turns=seen.turns,
            scores=seen.scores,
            paired=NO_NODE if ask.node is None else find_node(seen.nodes, ask.node),
        )
        if not verdicts.unsettled or not left:
            break
        time.sleep(_BETWEEN_LOOKS_SECONDS)
    return make_explanation(seen, verdicts, running.config, ask, running.segment.epoch, nodes_max)


def explain_job(runtime_dir: Path, job_id: str, *, as_json: bool) -> None:
    """Print how a job's nodes were chosen.

    Raises LayoutError where no scheduler runs, NotFoundError where nothing is recorded of it.
    """
    with attach(runtime_dir) as running:
        history = history_of_job(running, job_id)
    _print(history, HistoryScreen(history), as_json=as_json)


def explain_recent(runtime_dir: Path, last: int, *, as_json: bool) -> None:
    """Print the last decisions, at most so many; raise LayoutError where no scheduler runs."""
    with attach(runtime_dir) as running:
        history = make_history(running, read_decisions(running.views, last=last))
    _print(history, HistoryScreen(history), as_json=as_json)


def _print(answer: Explanation | History, screen: RenderableType, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    console.print(screen)
