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


def run(*arguments: str, script: str = SCRIPT) -> list[str]:
    command = [sys.executable, "-c", script, *arguments]
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


FAILING = """
import structlog, sys
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
configure_logging(ObservabilitySettings(log_format=sys.argv[1]), "gateway 1")
def fail(token):
    raise ValueError("broken")
try:
    fail("sec" + "ret")
except ValueError:
    structlog.get_logger("x").exception("failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(form: str) -> None:
    """Tokens are among them, and what people said."""
    shown = "\n".join(run(form, script=FAILING))
    assert "ValueError" in shown
    assert "in fail" in shown
    assert "secret" not in shown


LEVELS = """
import logging, structlog
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
names = ("scheduler.gateway.jobs", "scheduler.gateway", "scheduler.gateways", "scheduler.stats")
loggers = {name: structlog.get_logger(name) for name in names}
def say(step, **settings):
    configure_logging(ObservabilitySettings(log_format="json", **settings), "test")
    for name, logger in loggers.items():
        for level in ("debug", "info", "warning"):
            getattr(logger.bind(name=name), level)(f"{step} {level}")
    print()
say("default")
say("levels", levels={"scheduler.gateway": "debug", "scheduler.gateway.jobs": "warning",
    "scheduler.stats": "warning"})
say("again", log_level="warning")
assert not loggers["scheduler.stats"].is_enabled_for(logging.INFO)
"""


def test_a_module_s_level_counts_for_those_below_it_and_loggers_in_use_follow() -> None:
    command = [sys.executable, "-c", LEVELS]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    found = [json.loads(line) for line in result.stderr.splitlines()]

    def said(step: str) -> dict[str, list[str]]:
        lines = [(e["name"], e["event"].split()) for e in found]
        names = dict.fromkeys(name for name, _ in lines)
        return {n: [words[1] for m, words in lines if (m, words[0]) == (n, step)] for n in names}

    jobs, gateway, others, stats = (
        "scheduler.gateway.jobs",
        "scheduler.gateway",
        "scheduler.gateways",
        "scheduler.stats",
    )
    assert set(map(tuple, said("default").values())) == {("info", "warning")}
    assert said("levels") == {
        jobs: ["warning"],
        gateway: ["debug", "info", "warning"],
        others: ["info", "warning"],
        stats: ["warning"],
    }
    assert set(map(tuple, said("again").values())) == {("warning",)}


REPEATS = """
import logging, sys, structlog
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
settings = ObservabilitySettings(log_format="json", log_level=sys.argv[1])
configure_logging(settings, "test", limit_repeats=sys.argv[2] == "limited")
logger = structlog.get_logger("a")
for number in range(20):
    logger.warning("slow", number=number)
    logger.error("broken", number=number)
    logging.getLogger("asyncio").warning("lost %d", number)
"""


def counted(*arguments: str) -> dict[str, int]:
    names = [json.loads(line)["event"].split()[0] for line in run(*arguments, script=REPEATS)]
    return {name: names.count(name) for name in names}


def test_repeated_warnings_are_counted_instead_of_written() -> None:
    assert counted("warning", "limited") == {"slow": 5, "broken": 20, "lost": 5, "repeated": 2}
    lines = [json.loads(line) for line in run("warning", "limited", script=REPEATS)]
    told = {e["repeated"]: e["count"] for e in lines if e["event"] == "repeated warnings left out"}
    assert told == {"slow": 15, "lost %d": 15}


def test_warnings_that_are_all_wanted_are_all_there() -> None:
    assert counted("warning", "all") == {"slow": 20, "broken": 20, "lost": 20}


def test_dropped_levels_are_not_counted() -> None:
    assert counted("error", "limited") == {"broken": 20}


CONTEXT = """
import structlog
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
configure_logging(ObservabilitySettings(log_format="json"), "test")
with structlog.contextvars.bound_contextvars(trace_id="t-1"):
    structlog.get_logger("a").bind(job_id="job-1").info("said")
"""


def test_what_is_bound_comes_with_each_line() -> None:
    (line,) = (json.loads(line) for line in run(script=CONTEXT))
    assert (line["trace_id"], line["job_id"], line["event"]) == ("t-1", "job-1", "said")


KEEPING = """
import structlog
from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging, keep_events
logger = structlog.get_logger("early")
configure_logging(ObservabilitySettings(log_level="debug", log_format="json"), "gateway 1")
keep_events(lambda kind, text: print(kind, text, file=__import__("sys").stderr))
logger.debug("chatter")
logger.warning("slow", took_ms=5, why="gc")
"""


def test_events_are_also_kept_as_one_line_of_text() -> None:
    lines = run(script=KEEPING)
    assert "warning slow took_ms=5 why=gc" in lines
    assert not any(line.startswith("debug") for line in lines)
