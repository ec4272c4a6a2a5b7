"""In processes of their own: logging is set up once per process, for good."""

import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import logging, sys, structlog
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
logger = structlog.get_logger("early")
configure_logging(ObservabilitySettings(log_level=sys.argv[1], log_format=sys.argv[2]), "gateway 1")
logger.info("job accepted", job="job-1", odd=object)
logger.warning("slow")
logging.getLogger("asyncio").info("chatter")
logging.getLogger("asyncio").error("task %s failed", "t")
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("broken")
"""


def run(level: str, form: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, level, form]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == ""
    return result.stderr.splitlines()


def events(level: str, form: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(level, form)]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_each_event_is_one_json_line_that_names_its_process(form: str) -> None:
    found = events("info", form)
    assert [event["event"] for event in found] == [
        "job accepted",
        "slow",
        "task t failed",
        "broken",
    ]
    assert {event["process"] for event in found} == {"gateway 1"}
    assert len({event["pid"] for event in found}) == 1
    assert all(event["timestamp"].endswith("Z") for event in found)
    assert found[0]["job"] == "job-1"
    assert [event["level"] for event in found] == ["info", "warning", "error", "error"]
    assert "ZeroDivisionError" in found[3]["exception"]


def test_events_below_the_level_are_left_out() -> None:
    assert [event["event"] for event in events("error", "json")] == ["task t failed", "broken"]


def test_the_console_form_is_for_people() -> None:
    lines = run("info", "console")
    assert "job accepted" in lines[0]
    assert "gateway 1" in lines[0]
    assert not lines[0].startswith("{")
