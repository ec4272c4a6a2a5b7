"""Alerts and dashboard ask for metrics that there are, and each alert is in the runbook."""

import re
from collections import Counter

import pytest

from scheduler.stats.metrics import METRICS
from tests.deployment.rules import ROOT, Rule, dashboard, dashboard_queries, rules
from tests.stats.operators import metric_sources
from tests.stats.world import make_world

DECLARED = {metric.name: metric for metric in METRICS}
RULES = rules()
QUERIES = [*(rule.expr for rule in RULES), *dashboard_queries()]
SERIES = {
    name + suffix: metric
    for name, metric in DECLARED.items()
    for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
}
RUNBOOK = (ROOT / "docs" / "operations.md").read_text().partition("\n## Runbook\n")[2]


@pytest.mark.parametrize("query", QUERIES)
def test_each_metric_is_declared(query: str) -> None:
    names = set(re.findall(r"\bscheduler_\w+", query))
    assert names <= SERIES.keys()
    assert names or query.startswith("up{")


@pytest.mark.parametrize("query", QUERIES)
def test_labels_are_those_of_the_metric(query: str) -> None:
    for name, labels in re.findall(r"\b(scheduler_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)=", labels)) <= set(SERIES[name].labels)
    for label in re.findall(r"by \((\w+)\)", query):
        assert label == "le" or all(
            label in SERIES[name].labels for name in re.findall(r"\bscheduler_\w+", query)
        )


@pytest.mark.parametrize("query", QUERIES)
def test_rates_are_of_what_only_grows(query: str) -> None:
    ranged = re.findall(r"\b(\w+)\((scheduler_\w+)(?:\{[^}]*\})?\[", query)
    assert query.count("[") == len(ranged)
    for function, name in ranged:
        assert function in {"rate", "increase"}
        assert SERIES[name].kind in {"counter", "histogram"}
    counted = {name for name, metric in SERIES.items() if metric.kind == "counter"}
    assert counted & set(re.findall(r"\bscheduler_\w+", query)) <= {name for _, name in ranged}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_can_fire_from_the_start(rule: Rule) -> None:
    # Nothing is above a bound where there is no sample; what stands after `unless` needs none.
    needed = set(re.findall(r"\b(scheduler_\w+)", re.sub(r"unless \w+", "", rule.expr)))
    with make_world() as world:
        world.add_service("asr")  # of those that no node ever named nothing can be told
        sources = metric_sources(world)
        told = {name for name in needed if any(True for _ in SERIES[name].read(sources))}
    assert told or not needed


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_has_its_entry_in_the_runbook(rule: Rule) -> None:
    assert rule.severity in {"critical", "warning"}
    assert rule.runbook == f"docs/operations.md#{rule.name.lower()}"
    entry = re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)
    (found,) = (text for text in entry if text.startswith(f"{rule.name}\n"))
    assert [line.split("**")[1] for line in found.splitlines() if line.startswith("- **")] == [
        "Means:",
        "Look at:",
        "Do:",
    ]


def test_the_runbook_has_no_other_entries() -> None:
    named = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)
    assert named == [rule.name for rule in RULES]


def test_the_runbook_names_metrics_that_there_are() -> None:
    named = set(re.findall(r"`(scheduler_\w+)`", RUNBOOK))
    assert named <= DECLARED.keys()


def test_panels_have_titles_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    for key in ("id", "title"):
        assert max(Counter(panel[key] for panel in panels).values()) == 1
    cells = Counter(
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) < 24
