"""Reads the alert rules and the dashboard; both are kept in the plain form that this expects."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "configs" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "configs" / "grafana" / "dashboard.json"

_RULE = re.compile(
    r"      - alert: (\w+)\n"
    r"        expr: (.+)\n"
    r"        for: (\d+[smh])\n"
    r"        labels:\n"
    r"          severity: (\w+)\n"
    r"        annotations:\n"
    r"          summary: '(.+)'\n"
    r"          runbook: (\S+)\n"
)


class Rule(NamedTuple):
    """An alert rule."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    runbook: str


def rules() -> list[Rule]:
    """Return all rules; fail where the file has anything else after its head."""
    text = ALERTS.read_text()
    head, _, rest = text.partition("    rules:\n")
    assert head.endswith("groups:\n  - name: lingua-scheduler\n")
    assert _RULE.sub("", rest) == "", "not in the form of the others"
    return [Rule(*(part.strip("'") for part in match)) for match in _RULE.findall(rest)]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
