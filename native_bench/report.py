"""Writes docs/performance.md from the results that are kept, and says what is wrong with them.

The page is `performance.md.in` with its marks replaced:

    {{targets}}          all targets with what was measured, and the reasons of those missed
    {{about NAME}}       what a benchmark measures and what its bias is, from its module
    {{result NAME}}      its commit, machine, tables and doubts
    {{image NAME ALT}}   its plot of `plots.py`, with a text for who can't see it

The reasons stand in `remarks.toml`, written by hand: `"benchmark.figure" = "..."`.
"""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from native_bench import plots
from native_bench.benchmarks import BENCHMARKS
from native_bench.results import Figures, Result, markdown, read, verdict_row
from native_bench.targets import TARGETS, Target

_HERE = Path(__file__).parent
RESULTS = _HERE / "results"
TEMPLATE = _HERE / "performance.md.in"
REMARKS = _HERE / "remarks.toml"
PAGE = _HERE.parent / "docs" / "performance.md"
IMAGES = PAGE.parent / "images" / "performance"

Results = dict[str, Result]
Remarks = dict[str, str]


def write_page() -> None:
    """Write the page and its images."""
    kept = read_results()
    plots.write_all(kept, IMAGES)
    PAGE.write_text(page(TEMPLATE.read_text(), kept, read_remarks()))


def read_results() -> Results:
    """Return the kept results by name."""
    return {path.stem: read(path) for path in sorted(RESULTS.glob("*.json"))}


def read_remarks() -> Remarks:
    """Return the reasons by the keys of targets."""
    return tomllib.loads(REMARKS.read_text())


def page(template: str, kept: Results, remarks: Remarks) -> str:
    """Return the page; raises KeyError where a mark names what there is not."""

    def replaced(mark: re.Match[str]) -> str:
        kind, _, rest = mark[1].partition(" ")
        if kind == "targets":
            return "\n".join(_targets(kept, remarks))
        if kind == "about":
            return inspect.cleandoc(BENCHMARKS[rest].about)
        if kind == "result":
            return "\n".join(_result(kept.get(rest)))
        if kind == "image":
            name, _, alt = rest.partition(" ")
            return f"![{alt}](images/performance/{name}.svg)" if name in kept else ""
        raise KeyError(kind)

    return re.sub(r"\{\{(.+?)\}\}", replaced, template)


def problems() -> Iterator[str]:
    """Yield what is missing: results, and reasons of missed targets; and reasons of met ones."""
    kept, remarks = read_results(), read_remarks()
    yield from (f"no result of {name}" for name in BENCHMARKS if name not in kept)
    missed = {target.key for target in TARGETS if _is_missed(target, kept)}
    yield from (
        f"{key} is missed, and {REMARKS.name} says not why" for key in missed - set(remarks)
    )
    yield from (f"{REMARKS.name}: {key} is not missed" for key in set(remarks) - missed)


def _is_missed(target: Target, kept: Results) -> bool:
    result = kept.get(target.benchmark)
    value = result.figures.get(target.figure) if result else None
    return value is not None and not target.is_met(value)


def _targets(kept: Results, remarks: Remarks) -> Iterator[str]:
    rows, reasons = [], []
    for target in TARGETS:
        result = kept.get(target.benchmark)
        if result is None:
            row = (target.says, target.wanted, "not measured", "open")
        else:
            row = verdict_row(target, result)
        says, wanted, value, verdict = row
        if verdict == "missed":
            verdict = "**missed**"
            why = remarks.get(target.key, "no reason is known yet.")
            reasons.append(f"- *{_full(target)}*: {' '.join(why.split())}")
        rows.append((says, wanted, value, verdict))
    yield from markdown(Figures("", ("target", "wanted", "measured", "verdict"), rows))
    if reasons:
        yield from ("", "Missed, and why:", "", *reasons)


def _full(target: Target) -> str:
    """Return a target's text where it doesn't follow on the one above it."""
    if not target.says.startswith("…"):
        return target.says
    above = ""
    for other in TARGETS:
        if other == target:
            break
        above = above if other.says.startswith("…") else other.says
    return f"{above.rpartition(', ')[0] or above}, {target.says.removeprefix('… ')}"


def _result(result: Result | None) -> Iterator[str]:
    if result is None:
        yield "Not measured yet."
        return
    settings = ", ".join(f"{name} {_text(value)}" for name, value in result.settings.items())
    yield f"Commit {result.commit}, {result.measured_at[:10]}, {result.machine}."
    yield f"Settings: {settings}."
    for figures in result.tables:
        yield from ("", f"**{figures.title}**", "")
        yield from markdown(figures)
        if figures.note:
            yield from ("", f"{figures.note[:1].upper()}{figures.note[1:]}.")
    if result.doubts:
        yield from ("", "Doubts:", "", *(f"- {doubt}" for doubt in result.doubts))


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else f"{value}"
