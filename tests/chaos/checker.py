"""Holds the whole history of a run against what the scheduler promises."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.chaos.check_closings import Reasons, check_closings, check_deaths
from tests.chaos.check_end import EndFacts, check_end
from tests.chaos.check_nodes import Given, NodeTotals, check_nodes
from tests.chaos.check_sessions import SessionTotals, check_sessions
from tests.chaos.history import Event, read_history
from tests.chaos.recovery import Recovery, recoveries, replaced_ns, serving_ns
from tests.chaos.violation import Violation

HARNESS_FILE = "harness.jsonl"
AROUND_NS = 3_000_000_000
"""How much of the history before and after a violation is shown with it."""

SHOWN_MAX = 20
EVENTS_SHOWN_MAX = 2_000


@dataclass(slots=True)
class Findings:
    """What came of a run."""

    violations: list[Violation]
    sessions: SessionTotals
    nodes: NodeTotals
    closings: Counter[str]
    """Connections by how they ended."""
    faults: Counter[str] = field(default_factory=Counter)
    began_ns: int = 0
    kills: list[Recovery] = field(default_factory=list)
    serving_ns: dict[str, list[int]] = field(default_factory=dict)
    """By role, times from a kill until the successor served."""
    replaced_ns: dict[str, list[int]] = field(default_factory=dict)
    """By role, times from a stop until the successor served, where the supervisor replaced it."""


def peers_files(folder: Path) -> list[Path]:
    """Return the histories of the workers."""
    return [path for path in sorted(folder.glob("*.jsonl")) if path.name != HARNESS_FILE]


def check(folder: Path, epochs: Collection[str], end: EndFacts) -> Findings:
    """Check a run; `folder` holds its histories, `epochs` are those of the scheduler's job ids."""
    harness = [*read_history(folder / HARNESS_FILE)]
    reasons = Reasons(harness)
    found: list[Violation] = [*check_end(end), *check_deaths(reasons)]
    given: Given = {}
    findings = Findings(found, SessionTotals(), NodeTotals(), Counter())
    probes: dict[int, int] = {}
    taken_in: dict[int, int] = {}
    for path in peers_files(folder):
        away = path.stem.endswith("-away")
        if path.stem.startswith("sessions"):
            found += check_sessions(read_history(path), findings.sessions)
        elif path.stem.startswith("nodes"):
            found += check_nodes(read_history(path), given, findings.nodes)
        else:
            probed = [*read_history(path)]
            probes |= {e.index: e.size for e in probed if e.what == "probed"}
            taken_in |= {e.index: e.size for e in probed if e.what == "taken in"}
            continue
        closings = findings.closings
        found += check_closings(read_history(path), reasons, epochs, closings, away=away)
    findings.began_ns = harness[0].at_ns
    findings.faults.update(event.how for event in harness if event.what == "fault")
    findings.kills = recoveries(harness, taken_in, probes)
    found += [
        Violation(
            "not serving", kill.at_ns, kill.who, f"no new session had a result after {kill.how}"
        )
        for kill in findings.kills
        if kill.took_ns is None
    ]
    findings.serving_ns = serving_ns(harness)
    findings.replaced_ns = replaced_ns(harness)
    found.sort(key=lambda violation: violation.at_ns)
    return findings


def write_excerpt(folder: Path, path: Path, violations: list[Violation]) -> None:
    """Write the violations, each with the history around it, one JSON object a line."""
    files = [folder / HARNESS_FILE, *peers_files(folder)]
    with path.open("wb") as file:
        for violation in violations[:SHOWN_MAX]:
            file.write(msgspec.json.encode(violation) + b"\n")
            around = [e for f in files for e in read_history(f) if _belongs(e, violation)]
            for event in sorted(around, key=lambda e: e.at_ns)[:EVENTS_SHOWN_MAX]:
                file.write(msgspec.json.encode(event) + b"\n")


def _belongs(event: Event, violation: Violation) -> bool:
    """Whether an event tells of the same job or session, or was near, by or around the same."""
    same = event.job and event.job == violation.job
    same = same or (event.session and event.session == violation.session)
    if same:
        return True
    near = abs(event.at_ns - violation.at_ns) <= AROUND_NS
    is_frame = event.what in {"fault", "killed", "died", "started", "serves"}
    return near and (is_frame or event.who == violation.who)
