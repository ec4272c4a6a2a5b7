"""What would become of a job now, in words."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from scheduler.config import Config
from scheduler.explain.ask import Ask
from scheduler.explain.reading import NOT_KNOWN, Look
from scheduler.explain.verdicts import REASON_NAMES, Verdicts
from scheduler.explain.words import Details, counted, listed


class Outlook(Struct, frozen=True):
    """What would become of the job.

    `wait_seconds_max` is how long it would wait for a node before it fails, null where it would
    not wait for one.
    """

    action: Literal["placed", "waits", "refused"]
    because: str
    wait_seconds_max: float | None = None


def outlook_of(
    look: Look, verdicts: Verdicts, config: Config, ask: Ask, excluded: dict[str, int]
) -> Outlook:
    """Say what would become of the job; `excluded` counts nodes by reason."""
    if look.trouble:
        return Outlook("waits", f"nothing is placed meanwhile: {look.trouble}")
    if verdicts.eligible:
        return Outlook("placed", _why_first(verdicts, paired=ask.node is not None))
    why_none = _why_none(look, verdicts, config, ask, excluded)
    full = _full_queue(look, config, paired=ask.node is not None)
    if full:
        return Outlook("refused", f"{why_none}; {full}")
    wait_seconds = config.scheduler.job_timeout.pending_timeout_seconds
    return Outlook("waits", why_none, wait_seconds)


def _why_first(verdicts: Verdicts, *, paired: bool) -> str:
    if paired:
        return "the session is paired with it, and it has a free slot"
    if verdicts.eligible == 1:
        return "no other node can take it"
    choice = verdicts.order[: verdicts.eligible]
    equal = choice[verdicts.load[choice] == verdicts.load[choice[0]]]
    if len(equal) == 1:
        return f"of the {verdicts.eligible:,} nodes that can take it, its load is the least"
    turns = verdicts.turn[equal]
    among = f"of the {len(equal):,} nodes with the least load"
    if turns[0] > 0:
        return f"{among} it was chosen longest ago"
    if turns[0] == NOT_KNOWN:
        return f"{among} it comes first, unless it was chosen for jobs of another kind lately"
    unchosen = int((turns <= 0).sum())
    if unchosen == len(equal):
        return f"{among} none was chosen yet; it is the first in the table"
    if unchosen == 1:
        return f"{among} it alone was never chosen yet"
    return f"{among} {unchosen:,} were never chosen yet; it is the first of them in the table"


def _why_none(
    look: Look, verdicts: Verdicts, config: Config, ask: Ask, excluded: dict[str, int]
) -> str:
    if not len(verdicts.order):
        return "no node is registered"
    if ask.node is None:
        return f"no node can take it: {listed(excluded)}"
    row = int(verdicts.order[0])
    reason = REASON_NAMES[verdicts.found[row]]
    detail = Details(look, config.scheduler.load_balancer).of(row, reason)
    return f"its node can't take it: {reason}{f' ({detail})' if detail else ''}"


def _full_queue(look: Look, config: Config, *, paired: bool) -> str:
    limits = config.limits
    if look.queued_total >= limits.pending_total_max:
        return f"{counted(look.queued_total, 'job')} wait already (limits.pending_total_max)"
    if not paired and look.queued >= limits.pending_per_class_max:
        return (
            f"{counted(look.queued, 'job')} wait for these services already "
            "(limits.pending_per_class_max)"
        )
    return ""


def notes_of(look: Look, verdicts: Verdicts, config: Config, ask: Ask) -> Iterator[str]:
    """Yield what else is to be known, a line each."""
    if ask.src_lang or ask.tgt_lang:
        yield "languages exclude no node: what a job needs follows from its stages and features"
    if ask.node is None and look.scores is None and len(verdicts.order):
        yield (
            "no job has asked for these services since the dispatcher started: "
            "loads are worked out from the node table"
        )
    if ask.node is None and config.scheduler.task_binding.spread_enabled:
        seconds = config.scheduler.task_binding.spread_window_seconds
        yield (
            f"spreading is on: a session's job within {seconds:g} s of its last one "
            "goes to another node than that, if any can take it"
        )
    if look.untracked:
        yield f"not looked at, for the id does not fit the table: {', '.join(look.untracked)}"
    changed = verdicts.unsettled + look.torn_rows
    if changed:
        yield f"{counted(changed, 'node')} changed while this was read; look again"
