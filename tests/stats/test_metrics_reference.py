from pathlib import Path

from scheduler.stats.metrics import METRICS
from scheduler.stats.metrics_reference import render_markdown, write

ROOT = Path(__file__).parents[2]


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == render_markdown(), "run scripts/generate"


def test_every_metric_has_its_row() -> None:
    text = render_markdown()
    for metric in METRICS:
        assert text.count(f"\n| `{metric.name}` | {metric.kind} | ") == 1


def test_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    write(tmp_path)
    assert (tmp_path / "docs" / "metrics.md").read_text() == render_markdown()
