"""The charts of a report, each a PNG. Needs matplotlib, the extra `report`."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from scheduler.memory.histogram import bounds_ns
from scheduler.memory.layout import LATENCY_SUMS
from scheduler.stress import canvas
from scheduler.stress.chart import Chart
from scheduler.stress.figures import Figures, Latency, Stage
from scheduler.stress.raw import Run

_NS_PER_MS = 1e6
_LOWEST_MS = 0.001
_TIME = "seconds from the begin"


def draw(run: Run, figures: Figures) -> Iterator[Chart]:
    """Yield the charts for which there are samples."""
    for name, title, caption, height, wanted, drawn in _plan(run, figures):
        if wanted:
            yield Chart(name, title, caption, canvas.png(height, drawn))


_Planned = tuple[str, str, str, float, bool, Callable[[Figure], None]]


def _plan(run: Run, figures: Figures) -> Iterator[_Planned]:
    yield (
        "latency",
        "Latency",
        "From when an utterance was due to its translation_result, as the sessions see it.",
        3.2,
        bool(figures.latency.count),
        lambda figure: _latency(figure, figures),
    )
    yield (
        "saturation",
        "Saturation",
        "Each point is one step of the ramp. Left of the line the results keep up with the jobs.",
        3.6,
        bool(figures.steps),
        lambda figure: _saturation(figure, figures),
    )
    yield (
        "over-time",
        "Over time",
        "Jobs that were due and results that came, each second; latency of the jobs due in it.",
        5.2,
        bool(figures.per_second),
        lambda figure: _over_time(figure, run, figures),
    )
    used = [stage for stage in figures.stages if stage.latency.count]
    yield (
        "stages",
        "Stages inside the scheduler",
        "Its own histograms, from shared memory. The node's own time is the stage “node”.",
        0.5 + 0.62 * len(used),
        bool(used),
        lambda figure: _stages(figure, used),
    )
    yield (
        "cpu",
        "Processor time",
        "Cores that each process had. Grey: the load itself, on the same cores.",
        3.8,
        bool(figures.cpu),
        lambda figure: _cpu(figure, figures),
    )
    yield (
        "nodes",
        "Load of the nodes",
        "Slots in use, as a share of all slots of a node: over time, and the mean of each node.",
        3.2,
        any(look.load for look in run.looks),
        lambda figure: _nodes(figure, run),
    )
    errors = figures.errors
    yield (
        "errors",
        "Refusals and failures",
        "Refused at once, or accepted and then ended with an error, by code.",
        0.9 + 0.34 * len(errors),
        bool(errors),
        lambda figure: _errors(figure, figures),
    )


def _latency(figure: Figure, figures: Figures) -> None:
    axes = figure.subplots()
    histogram = figures.histogram
    low_ms, high_ms = _bars(axes, histogram.edges_ms, histogram.counts, canvas.ACCENT)
    canvas.log_time(axes, "x", low_ms, high_ms)
    _mark_percentiles(axes, figures.latency)
    axes.set_ylabel("jobs")
    axes.yaxis.set_major_formatter(FuncFormatter(canvas.whole_numbers))
    axes.grid(visible=False, axis="x")


def _bars(axes: Axes, edges_ms: list[float], counts: list[int], colour: str) -> tuple[float, float]:
    """Draw a histogram; return its bounds in ms, with some room."""
    axes.stairs(counts, edges_ms, fill=True, color=colour, alpha=0.22)
    axes.stairs(counts, edges_ms, color=colour, linewidth=1.2)
    return edges_ms[0] / 1.1, edges_ms[-1] * 1.1


def _buckets(counts: list[int]) -> tuple[list[float], list[int]]:
    """Return the edges in ms and the counts of those buckets that were used, and between them."""
    used = [bucket for bucket, count in enumerate(counts) if count]
    shown = range(used[0], used[-1] + 1)
    edges_ms = [max(bounds_ns(bucket)[0] / _NS_PER_MS, _LOWEST_MS) for bucket in shown]
    edges_ms.append(max(bounds_ns(used[-1])[1] / _NS_PER_MS, edges_ms[-1] * 1.01))
    return edges_ms, [counts[bucket] for bucket in shown]


def _mark_percentiles(axes: Axes, latency: Latency) -> None:
    """Draw lines at percentiles; labels stand in steps, so that close ones don't overlap."""
    top, (low, high) = axes.get_ylim()[1], axes.get_xlim()
    axes.set_ylim(0, top * 1.32)
    marks = (("p50", latency.p50_ms), ("p99", latency.p99_ms), ("p99.9", latency.p999_ms))
    for number, (name, value_ms) in enumerate(marks):
        if value_ms is None:
            continue
        height = top * (1.22 - 0.1 * number)
        is_right = math.log(value_ms / low) > 0.8 * math.log(high / low)
        axes.plot([value_ms, value_ms], [0, height], color=canvas.TEXT, linewidth=0.9, ls=":")
        axes.annotate(
            f"{name}  {canvas.milliseconds(value_ms)}",
            (value_ms, height),
            xytext=(-4 if is_right else 4, -3),
            textcoords="offset points",
            fontsize=9,
            va="center",
            ha="right" if is_right else "left",
        )


def _saturation(figure: Figure, figures: Figures) -> None:
    rates, latencies = figure.subplots(1, 2)
    steps = figures.steps
    offered = [step.offered for step in steps]
    top = max(*offered, *(step.delivered for step in steps)) * 1.06
    rates.plot([0, top], [0, top], color=canvas.LOAD_COLOUR, linewidth=1, ls="--", label="offered")
    rates.plot(
        offered,
        [step.delivered for step in steps],
        color=canvas.ACCENT,
        marker="o",
        markersize=4,
        label="delivered",
    )
    rates.set(xlim=(0, top), ylim=(0, top), xlabel="offered, jobs/s", title="delivered, jobs/s")
    canvas.legend(rates)
    timed = [step for step in steps if step.p50_ms is not None and step.p99_ms is not None]
    for name, colour, values in (
        ("p50", canvas.SECOND, [step.p50_ms or 0.0 for step in timed]),
        ("p99", canvas.ACCENT, [step.p99_ms or 0.0 for step in timed]),
    ):
        points = [step.offered for step in timed]
        latencies.plot(points, values, color=colour, marker="o", markersize=4, label=name)
    _log_latency(latencies, [value for step in timed for value in (step.p50_ms, step.p99_ms)])
    latencies.set(xlim=(0, top), xlabel="offered, jobs/s", title="latency")
    canvas.legend(latencies)
    for axes in (rates, latencies):
        axes.xaxis.set_major_formatter(FuncFormatter(canvas.whole_numbers))
        if figures.carried_rate is not None:
            axes.axvline(figures.carried_rate, color=canvas.GOOD, linewidth=1)
    rates.yaxis.set_major_formatter(FuncFormatter(canvas.whole_numbers))
    if figures.carried_rate is not None:
        rates.annotate(
            f"carried: {figures.carried_rate:,.0f} jobs/s ",
            (figures.carried_rate, 0),
            xytext=(-3, 8),
            textcoords="offset points",
            ha="right",
            color=canvas.GOOD,
            fontsize=9,
        )


def _log_latency(axes: Axes, values: list[float | None]) -> None:
    """Make the y axis fit latencies in ms."""
    known = [value for value in values if value]
    if known:
        canvas.log_time(axes, "y", min(known) / 1.5, max(known) * 1.5)


def _over_time(figure: Figure, run: Run, figures: Figures) -> None:
    rates, latencies = figure.subplots(2, 1, sharex=True)
    seconds = figures.per_second
    times = [second.at_s for second in seconds]
    for name, colour, width, values in (
        ("due", canvas.LOAD_COLOUR, 3.5, [second.offered for second in seconds]),
        ("results", canvas.ACCENT, 1.8, [second.delivered for second in seconds]),
        ("errors", canvas.BAD, 1.4, [second.errors for second in seconds]),
    ):
        if name != "errors" or any(values):
            rates.plot(times, values, color=colour, linewidth=width, label=name)
    rates.set(ylim=(0, None), title="jobs/s")
    rates.yaxis.set_major_formatter(FuncFormatter(canvas.whole_numbers))
    canvas.legend(rates)
    for name, colour, latency in (
        ("p50", canvas.SECOND, [second.p50_ms for second in seconds]),
        ("p99", canvas.ACCENT, [second.p99_ms for second in seconds]),
    ):
        known = [math.nan if value is None else value for value in latency]
        latencies.plot(times, known, color=colour, label=name)
    _log_latency(latencies, [v for second in seconds for v in (second.p50_ms, second.p99_ms)])
    latencies.set(xlabel=_TIME, title="latency", xlim=(0, max(times) or 1))
    canvas.legend(latencies)
    for axes in (rates, latencies):
        if run.scenario.warmup_seconds:
            axes.axvspan(0, run.scenario.warmup_seconds, color=canvas.LINE, alpha=0.5, lw=0)


def _stages(figure: Figure, stages: list[Stage]) -> None:
    rows = figure.subplots(len(stages), 1, sharex=True, squeeze=False)[:, 0]
    lowest, highest = math.inf, 0.0
    for axes, stage in zip(rows, stages, strict=True):
        colour = canvas.SECOND if stage.name in LATENCY_SUMS else canvas.ACCENT
        low_ms, high_ms = _bars(axes, *_buckets(stage.counts), colour)
        lowest, highest = min(lowest, low_ms), max(highest, high_ms)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylabel(
            stage.name.replace("_", " "), rotation=0, ha="right", va="center", color=canvas.TEXT
        )
        axes.text(
            1.01,
            0.5,
            f"p50 {_ms(stage.latency.p50_ms)}\np99 {_ms(stage.latency.p99_ms)}",
            transform=axes.transAxes,
            va="center",
            fontsize=8,
            color=canvas.QUIET,
        )
    canvas.log_time(rows[-1], "x", max(lowest, _LOWEST_MS), highest)


def _ms(value: float | None) -> str:
    return "-" if value is None else canvas.milliseconds(value)


def _cpu(figure: Figure, figures: Figures) -> None:
    axes = figure.subplots()
    colours = canvas.colours()
    for use in figures.cpu:
        is_load = use.name.startswith("load: ")
        axes.plot(
            use.at_s,
            use.shares,
            color=canvas.LOAD_COLOUR if is_load else next(colours),
            linewidth=1.2 if is_load else 1.8,
            zorder=1 if is_load else 2,
            label=f"{use.name}  {use.mean:.0%}",
        )
    axes.set(ylim=(0, None), xlim=(0, None), xlabel=_TIME, title="share of a core")
    axes.yaxis.set_major_formatter(FuncFormatter(canvas.percent))
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        title="mean share",
    )


def _nodes(figure: Figure, run: Run) -> None:
    spread, means = figure.subplots(1, 2, width_ratios=(3, 2))
    looks = [(look.time_ns, look.load) for look in run.looks if look.load]
    times = [(time_ns - run.begin_ns) / 1e9 for time_ns, _ in looks]
    loads = [load for _, load in looks]
    spread.fill_between(
        times,
        [load.p10 for load in loads],
        [load.p90 for load in loads],
        color=canvas.ACCENT,
        alpha=0.18,
        lw=0,
        label="middle 80 % of nodes",
    )
    greatest = [load.greatest for load in loads]
    spread.plot(times, greatest, color=canvas.WARN, lw=1.2, label="busiest")
    spread.plot(times, [load.median for load in loads], color=canvas.ACCENT, label="median")
    spread.set(
        ylim=(0, min(max(greatest) * 1.15, 1.04) or 1),
        xlim=(0, None),
        xlabel=_TIME,
        title="slots in use",
    )
    spread.yaxis.set_major_formatter(FuncFormatter(canvas.percent))
    canvas.legend(spread)
    busy = sorted(run.inside.node_busy, reverse=True) if run.inside else []
    means.fill_between(
        np.arange(len(busy) + 1),
        [*busy, *busy[-1:]],
        step="post",
        color=canvas.ACCENT,
        alpha=0.35,
        lw=0,
    )
    means.set(xlim=(0, len(busy) or 1), ylim=(0, None), xlabel="nodes, busiest first")
    means.set_title("mean of each node")
    means.yaxis.set_major_formatter(FuncFormatter(canvas.percent))


def _errors(figure: Figure, figures: Figures) -> None:
    axes = figure.subplots()
    codes = list(figures.errors)[::-1]
    refused = [figures.refused.get(code, 0) for code in codes]
    failed = [figures.errors[code] - count for code, count in zip(codes, refused, strict=True)]
    axes.barh(codes, refused, color=canvas.WARN, height=0.6, label="refused")
    bars = axes.barh(codes, failed, left=refused, color=canvas.BAD, height=0.6, label="failed")
    axes.bar_label(bars, [f" {figures.errors[code]:,}" for code in codes], color=canvas.TEXT)
    axes.set(xlim=(0, max(figures.errors.values()) * 1.12), xlabel="jobs")
    axes.xaxis.set_major_formatter(FuncFormatter(canvas.whole_numbers))
    axes.tick_params(axis="y", labelcolor=canvas.TEXT)
    axes.grid(visible=False, axis="y")
    canvas.legend(axes)
