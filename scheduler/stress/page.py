"""The report as one HTML file that needs no other: pictures are in it, there is no script."""

from collections.abc import Iterable
from html import escape

import msgspec
import pybase64

from scheduler.stress.chart import Chart
from scheduler.stress.figures import Figures, Latency
from scheduler.stress.page_style import STYLE
from scheduler.stress.raw import Run
from scheduler.stress.summary import bias, carried, doubts, ms, verdict

HOW_TO_DRAW = (
    "Charts need matplotlib, which is not installed: pip install 'lingua-scheduler[report]', or "
    "pip install matplotlib. All figures are in the tables below, and with --json."
)

_VIOLATIONS_SHOWN_MAX = 20


def page(run: Run, figures: Figures, charts: list[Chart] | None) -> str:
    """Return the page; `charts` is None where they can't be drawn."""
    parts = [
        *_head(run, figures),
        _tiles(figures),
        *_notes(run, figures, charts),
        *(_chart(chart) for chart in charts or ()),
        *_tables(run, figures),
        _origin(run),
    ]
    title = escape(f"{run.scenario.title}, stress report")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(run: Run, figures: Figures) -> Iterable[str]:
    kind = "good" if figures.kept else "bad"
    where = f"against {run.target}" if run.target else "against a scheduler of its own"
    yield (
        f'<header>\n<div class="badge {kind}">{escape(verdict(figures))}</div>\n'
        f"<h1>{escape(run.scenario.title)}</h1>\n"
        f"<p>{escape(run.scenario.about)}</p>\n"
        f'<p class="quiet">{escape(run.started_at)}, {figures.seconds:.0f} s {escape(where)}, '
        f"commit {escape(run.commit)}, seed {run.scenario.seed}<br>{escape(run.machine)}</p>\n"
        "</header>"
    )


def _tiles(figures: Figures) -> str:
    latency = figures.latency
    errors = sum(figures.errors.values())
    rate = figures.results / figures.seconds if figures.seconds else 0.0
    tiles = [
        ("results", f"{figures.results:,}", f"{rate:,.0f} jobs/s, of {figures.sent:,} sent"),
        ("median latency", ms(latency.p50_ms), "half of the jobs were sooner"),
        ("p99 latency", ms(latency.p99_ms), f"p99.9 {ms(latency.p999_ms)}"),
        ("without a result", f"{errors:,}", _share(errors, figures.sent)),
    ]
    if figures.steps:
        tiles.append(("carried", *_carried(figures)))
    cells = (
        f'<div class="tile"><div class="quiet">{escape(name)}</div>'
        f'<div class="figure">{escape(figure)}</div><div class="quiet">{escape(text)}</div></div>'
        for name, figure, text in tiles
    )
    return '<div class="tiles">\n' + "\n".join(cells) + "\n</div>"


def _carried(figures: Figures) -> tuple[str, str]:
    rate = figures.carried_rate
    if rate is None:
        return "-", carried(figures)
    highest = figures.steps[-1].rate == rate
    return f"{rate:,.0f} /s", "the highest step there was" if highest else "all steps up to it"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%} of all" if whole else "nothing was sent"


def _notes(run: Run, figures: Figures, charts: list[Chart] | None) -> Iterable[str]:
    doubted = "".join(f"<li>{escape(doubt)}</li>" for doubt in doubts(run, figures))
    listed = f"\n<ul>{doubted}</ul>" if doubted else ""
    yield (
        f'<section class="note"><h2>Before you believe it</h2>\n<p>{escape(bias(run))}</p>'
        f"{listed}</section>"
    )
    if figures.broken:
        yield _broken(run)
    if charts is None:
        yield f'<section class="note"><h2>No charts</h2><p>{escape(HOW_TO_DRAW)}</p></section>'
    if run.inside is None:
        yield (
            '<section class="note"><h2>Not seen</h2><p>The scheduler&#x27;s shared memory could '
            "not be read from here: its stages, processes and the load of the nodes are missing."
            "</p></section>"
        )


def _broken(run: Run) -> str:
    shown = run.violations[:_VIOLATIONS_SHOWN_MAX]
    rows = [[violation.what, violation.text] for violation in shown]
    more = len(run.violations) - len(shown)
    tail = f"<p>And {more:,} more.</p>" if more else ""
    return (
        f'<section class="bad">{_table("Broken promises", ["what", "where"], rows)}{tail}</section>'
    )


def _chart(chart: Chart) -> str:
    data = pybase64.b64encode(chart.png).decode()
    return (
        f'<section><h2>{escape(chart.title)}</h2>\n<p class="quiet">{escape(chart.caption)}</p>\n'
        f'<img alt="{escape(chart.title)}: {escape(chart.caption)}" '
        f'src="data:image/png;base64,{data}"></section>'
    )


def _tables(run: Run, figures: Figures) -> Iterable[str]:
    percentiles = ["p50", "p90", "p99", "p99.9", "max"]
    yield _section(
        "Latency by kind of job",
        ["kind", "sent", "no result", *percentiles],
        [
            [kind.name, f"{kind.sent:,}", f"{kind.errors:,}", *_percentiles(kind.latency)]
            for kind in figures.kinds
        ],
    )
    yield _section(
        "Latency, all jobs",
        ["counted", *percentiles],
        [
            ["from when it was due", *_percentiles(figures.latency)],
            ["from when it was sent", *_percentiles(figures.from_sent)],
            ["sent after it was due", *_percentiles(figures.send_lag)],
        ],
    )
    if figures.steps:
        yield _section(
            "Steps of the ramp",
            ["rate", "due, jobs/s", "results, jobs/s", "no result", "p50", "p99", "carried"],
            [
                [
                    *(f"{step.rate:,.0f}", f"{step.offered:,.0f}", f"{step.delivered:,.0f}"),
                    *(f"{step.errors:.1%}", ms(step.p50_ms), ms(step.p99_ms)),
                    "yes" if step.carried else "no",
                ]
                for step in figures.steps
            ],
        )
    if figures.errors:
        yield _section(
            "Jobs without a result",
            ["code", "refused", "failed after it was accepted"],
            [
                [code, f"{figures.refused.get(code, 0):,}", f"{figures.failed.get(code, 0):,}"]
                for code in figures.errors
            ],
        )
    if run.inside is not None:
        yield _section(
            "Counted by the scheduler",
            ["counter", "in this run"],
            [[name.replace("_", " "), f"{n:,}"] for name, n in run.inside.counters.items() if n],
        )
    if run.troubles:
        yield _section(
            "Troubles of the sessions",
            ["what", "times"],
            [[what, f"{times:,}"] for what, times in run.troubles.items()],
        )


def _percentiles(latency: Latency) -> list[str]:
    return [
        ms(value)
        for value in (
            *(latency.p50_ms, latency.p90_ms, latency.p99_ms),
            *(latency.p999_ms, latency.max_ms),
        )
    ]


def _section(title: str, heads: list[str], rows: list[list[str]]) -> str:
    return f"<section>{_table(title, heads, rows)}</section>"


def _table(title: str, heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return (
        f'<h2>{escape(title)}</h2>\n<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _origin(run: Run) -> str:
    scenario = msgspec.json.format(msgspec.json.encode(run.scenario), indent=2).decode()
    return (
        f"<section><h2>Scenario</h2>\n<p class='quiet'>{escape(run.name)}, as it was run, with "
        f"version {escape(run.version)}</p>\n<details><summary>All of it</summary>"
        f"<pre>{escape(scenario)}</pre></details></section>"
    )
