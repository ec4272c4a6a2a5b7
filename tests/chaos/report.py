"""What a run comes to, for people."""

from collections.abc import Callable, Iterator
from statistics import median

from rich.console import Console
from rich.table import Table

from scheduler.origin import commit, machine
from tests.chaos.check_end import MUST_BE_ZERO, EndFacts
from tests.chaos.checker import Findings
from tests.chaos.plan import left_out
from tests.chaos.recovery import Recovery
from tests.chaos.run import Run
from tests.chaos.violation import PROMISES

SOON_NS = 2_000_000_000
"""The service is to take work again within that time of each kill."""

VIOLATIONS_SHOWN_MAX = 20


def show(console: Console, run: Run, findings: Findings, end: EndFacts) -> None:
    """Print the tables."""
    console.print(f"commit {commit()}, {machine()}", highlight=False)
    for table in (
        _faults(run, findings),
        _recovery(findings, "was taken in", lambda kill: kill.taken_in_ns),
        _recovery(findings, "had a result", lambda kill: kill.took_ns),
        _successors(findings),
        *_late(findings),
        _jobs(findings, end),
        _promises(findings),
        _other(run, findings, end),
    ):
        console.print(table)
    for violation in findings.violations[:VIOLATIONS_SHOWN_MAX]:
        console.print(
            f"[red]{violation.promise}[/] {violation.who}: {violation.detail} "
            f"{violation.session} {violation.job}",
            highlight=False,
        )
    console.print(f"seed {run.settings.seed}; again: {run.settings.command}", highlight=False)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _faults(run: Run, findings: Findings) -> Table:
    table = _table(f"{findings.faults.total()} faults", "fault", "times")
    for name, count in sorted(findings.faults.items()):
        table.add_row(name, str(count))
    for need, why in run.missing.items():
        for name in left_out(frozenset({need})):
            table.add_row(name, f"left out: {why}")
    return table


Time = Callable[[Recovery], int | None]


def _recovery(findings: Findings, what: str, time: Time) -> Table:
    table = _table(
        f"{len(findings.kills)} kills; seconds until a new session {what}",
        *("killed", "times", "median", "max", "over 2"),
        *("alone", "median", "max", "over 2"),
    )
    for name in sorted({kill.name for kill in findings.kills}):
        kills = [kill for kill in findings.kills if kill.name == name]
        table.add_row(name, *_times(kills, time))
    table.add_row("all", *_times(findings.kills, time))
    return table


def _times(kills: list[Recovery], time: Time) -> Iterator[str]:
    """Yield columns for all of them, then for those that nothing else disturbed."""
    for some in (kills, [kill for kill in kills if not kill.meanwhile]):
        took_ns = [took for kill in some if (took := time(kill)) is not None]
        yield from (str(len(some)), *_spread(took_ns), str(sum(t > SOON_NS for t in took_ns)))


def _successors(findings: Findings) -> Table:
    table = _table("seconds until the successor served", "after", "times", "median", "max")
    for after, by_role in (("kill", findings.serving_ns), ("stop", findings.replaced_ns)):
        for role, took_ns in sorted(by_role.items()):
            table.add_row(f"{after} of {role}", str(len(took_ns)), *_spread(took_ns))
    return table


def _late(findings: Findings) -> Iterator[Table]:
    late = [kill for kill in findings.kills if kill.took_ns is None or kill.took_ns > SOON_NS]
    headings = ("at s", "killed", "taken in", "result", "besides")
    table = _table("kills after which it took longer than 2 s", *headings)
    for kill in late:
        table.add_row(
            f"{(kill.at_ns - findings.began_ns) / 1e9:.1f}",
            f"{kill.who} {kill.how}",
            *("none" if t is None else f"{t / 1e9:.2f}" for t in (kill.taken_in_ns, kill.took_ns)),
            "; ".join(kill.meanwhile) or "nothing",
        )
    if late:
        yield table


def _spread(times_ns: list[int]) -> tuple[str, str]:
    if not times_ns:
        return "", ""
    return f"{median(times_ns) / 1e9:.2f}", f"{max(times_ns) / 1e9:.2f}"


def _jobs(findings: Findings, end: EndFacts) -> Table:
    table = _table("jobs", "of", "accepted", "completed", "failed", "cancelled")
    for name, totals in end.totals.items():
        table.add_row(name, *(f"{count:,}" for count in totals.values()))
    return table


def _promises(findings: Findings) -> Table:
    table = _table("promises broken", "promise", "times")
    for promise in PROMISES:
        table.add_row(promise, str(sum(v.promise == promise for v in findings.violations)))
    return table


def _other(run: Run, findings: Findings, end: EndFacts) -> Table:
    table = _table("also seen", "what", "how often")
    for name, value in _rows(run, findings, end):
        table.add_row(name, value)
    return table


def _rows(run: Run, findings: Findings, end: EndFacts) -> Iterator[tuple[str, str]]:
    sessions, nodes = findings.sessions, findings.nodes
    yield (
        "conversations, of them lived on to the end",
        f"{sessions.conversations:,}, {sessions.finished:,}",
    )
    yield (
        "utterances, with result, failed, refused, cut off",
        (
            f"{sessions.utterances:,}, {sessions.results:,}, {sessions.failures:,}, "
            f"{sessions.refusals:,}, {sessions.cut_off:,}"
        ),
    )
    yield "sessions resumed", f"{sessions.resumed:,}"
    yield "repeated requests", f"{sessions.repeats:,}"
    yield "errors by code", _counts(sessions.codes)
    yield (
        "nodes: given, cancelled, gone on with",
        (f"{nodes.assigned:,}, {nodes.cancelled:,}, {nodes.claimed:,}"),
    )
    yield "nodes' answers", _counts(nodes.answers)
    yield "nodes refused", _counts(nodes.refused)
    yield "connections ended", _counts(findings.closings)
    yield "operators' requests by status", _counts(run.operator_answers)
    for name in MUST_BE_ZERO:
        yield name, str(end.counters[name])
    yield (
        "counters",
        _counts({k: v for k, v in end.counters.items() if k not in MUST_BE_ZERO and v}),
    )
    yield "logged at warning and above", _counts(run.warnings)
    for name, before in end.before.items():
        after = end.after.get(name)
        if after is not None:
            yield (
                f"{name}: descriptors, MiB",
                (
                    f"{before.fds} to {after.fds}, "
                    f"{before.rss_bytes >> 20} to {after.rss_bytes >> 20}"
                ),
            )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
