"""Plots of the kept results for docs/performance.md, as SVG."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from native_bench import growth
from native_bench.end_to_end import size_name
from native_bench.results import Result
from native_bench.targets import TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 8.0, 3.6
"""Inches."""

_STYLE: Any = {
    "svg.hashsalt": "lingua",  # else ids differ each time, and so do files
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
}


def write_all(results: dict[str, Result], folder: Path) -> None:
    """Write each plot of which there is a result, as `folder`/NAME.svg."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, (columns, draw) in PLOTS.items():
            if name not in results:
                continue
            result = results[name]
            side_by_side = columns(result)
            figure, axes = pyplot.subplots(
                1, side_by_side, figsize=(_WIDTH, _HEIGHT), squeeze=False, layout="constrained"
            )
            draw(result, list(axes[0]))
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            pyplot.close(figure)


def _limit(figure: str) -> float:
    return next(target.limit for target in TARGETS if target.figure == figure)


def _by(samples: list[dict[str, Any]], **wanted: object) -> list[dict[str, Any]]:
    return [s for s in samples if all(s[key] == value for key, value in wanted.items())]


def _dispatch(result: Result, axes: "list[Axes]") -> None:
    [plot] = axes
    nodes = result.settings["nodes"]
    for program in ("bare loop", "dispatcher"):
        rates = [
            [s["jobs"] / s["cpu_seconds"] for s in _by(result.samples, program=program, nodes=n)]
            for n in nodes
        ]
        medians = [float(np.median(rate)) for rate in rates]
        [line] = plot.plot(nodes, medians, marker="o", label=program)
        low, high = [min(rate) for rate in rates], [max(rate) for rate in rates]
        plot.fill_between(nodes, low, high, color=line.get_color(), alpha=0.2)
    wanted = [(n, f"jobs_per_cpu_second_{n}") for n in nodes]
    known = {target.figure for target in TARGETS}
    points = [(n, _limit(figure)) for n, figure in wanted if figure in known]
    plot.plot(*zip(*points, strict=True), "k_", markersize=14, label="wanted")
    plot.set(xscale="log", xlabel="nodes", ylabel="jobs per CPU second", ylim=(0, None))
    plot.legend()


def _end_to_end(result: Result, axes: "list[Axes]") -> None:
    programs = result.settings["programs"]
    for plot, size in zip(axes, result.settings["text_bytes"], strict=True):
        for row, program in enumerate(programs):
            own = _by(result.samples, program=program, text_bytes=size)
            left = 0.0
            for process in own[0]["cpu_seconds"]:
                used = [s["cpu_seconds"][process] / s["jobs"] * 1e6 for s in own]
                width = float(np.median(used))
                role = process.split()[0]
                plot.barh(row, width, left=left, color=_COLOURS.get(role, "tab:grey"))
                left += width
            plot.text(left, row, f" {left:.0f}", va="center")
        plot.set(title=f"{size_name(size)} of audio", xlabel="CPU µs per job")
        plot.set_yticks(range(len(programs)), programs if plot is axes[0] else [""] * len(programs))
        plot.invert_yaxis()
        plot.margins(x=0.15)
    for role, colour in _COLOURS.items():
        axes[-1].barh(0, 0, color=colour, label=role)
    # Not in a plot: which bars are long depends on the audio.
    axes[-1].figure.legend(loc="outside lower center", ncols=len(_COLOURS))


_COLOURS = {
    "gateway": "tab:blue",
    "dispatcher": "tab:orange",
    "supervisor": "tab:green",
    "stats": "tab:red",
}
"""Of the scheduler's processes; the rivals have but one."""


def _growth(result: Result, axes: "list[Axes]") -> None:
    [plot] = axes
    nodes = result.settings["nodes"]
    samples = msgspec.convert(result.samples, list[growth.Sample])
    for cost, label in (
        (growth.gross_us, "all of it"),
        (growth.net_us, "idle cost taken off"),
    ):
        ratios = [growth.ratios_of(samples, min(nodes), n, cost) for n in nodes]
        medians = [float(np.median(each)) for each in ratios]
        [line] = plot.plot(nodes, medians, marker="o", label=label)
        low, high = [min(each) for each in ratios], [max(each) for each in ratios]
        plot.fill_between(nodes, low, high, color=line.get_color(), alpha=0.2)
    plot.axhline(_limit("gross_growth"), color="k", linestyle=":", label="wanted at most")
    least = f"{min(nodes):,} nodes"
    plot.set(xscale="log", xlabel="nodes", ylabel=f"CPU of a job to that with {least}")
    plot.set_ylim(0, 1.1 * plot.get_ylim()[1])
    plot.legend(loc="lower right")


def _latency(result: Result, axes: "list[Axes]") -> None:
    [plot] = axes
    [samples] = result.samples
    for program in result.settings["programs"]:
        counts: dict[int, int] = {}
        for sample in _by(samples["samples"], program=program):
            for upper_ns, count in sample["times"]["submit_to_assign"]["buckets"]:
                counts[upper_ns] = counts.get(upper_ns, 0) + count
        times = np.array(sorted(counts))
        beyond = 1 - np.cumsum([counts[t] for t in times]) / sum(counts.values())
        plot.plot(times[:-1] / 1e6, beyond[:-1], label=program, drawstyle="steps-post")
    for figure, share in (("p50_ms", 0.5), ("p99_ms", 0.01)):
        label = "wanted" if share == 0.5 else None
        plot.plot([_limit(figure)], [share], "kx", label=label)
    plot.set(
        xscale="log",
        yscale="log",
        xlabel="ms from utterance to job_assign",
        ylabel="share that takes longer",
    )
    plot.legend()


def _one(_: Result) -> int:
    return 1


def _one_for_each_size(result: Result) -> int:
    return len(result.settings["text_bytes"])


PLOTS: dict[str, tuple[Callable[[Result], int], Callable[[Result, "list[Axes]"], None]]] = {
    "dispatch": (_one, _dispatch),
    "end-to-end": (_one_for_each_size, _end_to_end),
    "growth": (_one, _growth),
    "latency": (_one, _latency),
}
"""By the name of the benchmark: how many plots side by side, and what draws them."""
