"""Renders the declarations of metrics.py for people; `scripts/generate` writes docs/metrics.md."""

from collections.abc import Sequence
from pathlib import Path

from scheduler.stats.exposition import BOUNDS_NS
from scheduler.stats.metrics import DERIVED, FROM_LAYOUT, OWN, Metric

_INTRO = f"""\
# Metrics

Written by `scripts/generate` from the declarations; don't edit it here.

`GET /metrics` on the operations port answers in Prometheus's text format, or OpenMetrics where the
client asks for it; `GET /api/v1/metrics` says the same as JSON. Both are read from shared memory
when they are asked for. Counters of gateways and the dispatcher go on over a restart of the
process; a restart of the whole program resets them.

Histograms have {len(BOUNDS_NS)} bounds, powers of two from {BOUNDS_NS[0] / 1e9:.6f} to \
{BOUNDS_NS[-1] / 1e9:.3f} seconds, at which
counts are exact. Sums are worked out from finer buckets and are off by at most 6.25 %.
"""


def render_markdown() -> str:
    """Return docs/metrics.md."""
    sections = (
        ("From the memory layout", "Declared in `scheduler/memory/layout.py`.", FROM_LAYOUT),
        ("Worked out", "From several columns, or from what the kernel says.", DERIVED),
        ("Of the stats process", "Start anew with it; nothing else depends on them.", OWN),
    )
    return _INTRO + "".join(_section(*section) for section in sections)


def _section(title: str, text: str, metrics: Sequence[Metric]) -> str:
    lines = [
        f"\n## {title}\n",
        f"{text}\n",
        "| name | type | labels | unit | meaning | from |",
        "|---|---|---|---|---|---|",
        *(_row(metric) for metric in metrics),
    ]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.kind, labels, metric.unit, metric.help, metric.origin)
    return f"| {' | '.join(cells)} |"


def write(root: Path) -> None:
    """Rewrite docs/metrics.md in the checkout at `root`."""
    (root / "docs" / "metrics.md").write_text(render_markdown())


if __name__ == "__main__":
    write(Path(__file__).parents[2])
