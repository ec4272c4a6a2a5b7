from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.gateway.world import World

IDS = ("job_id", "trace_id", "session_id", "node_id")


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def ended(lines: list[Any]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "job ended"]


def test_a_completed_job_is_one_line_with_all_its_ids(world: World, lines: list[Any]) -> None:
    node, session = world.node(), world.session(trace_id="trace-1")
    session.speak(3)
    (job,) = node.jobs()
    assert ended(lines) == []
    node.answer(job)
    (line,) = ended(lines)
    assert (line["log_level"], line["outcome"], line["utterance_index"]) == (
        "debug",
        "completed",
        3,
    )
    assert [line[name] for name in IDS] == [
        job["job_id"],
        job["trace_id"],
        session.session_id,
        node.node_id,
    ]
    assert line["took_ms"] >= 0


def test_a_failed_job_says_why(world: World, lines: list[Any]) -> None:
    world.session().speak()
    world.tick(later_seconds=3_600)
    (line,) = ended(lines)
    assert (line["outcome"], line["node_id"]) == ("failed", None)
    assert line["code"]


def test_jobs_given_up_are_lines_too(world: World, lines: list[Any]) -> None:
    node, session = world.node(), world.session()
    session.speak()
    node.jobs()
    session.hang_up()
    (line,) = ended(lines)
    assert (line["outcome"], line["node_id"]) == ("cancelled", node.node_id)


def test_nothing_is_looked_up_where_debug_lines_are_not_wanted(
    world: World,
) -> None:
    with capture_logs() as captured:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
        try:
            node, session = world.node(), world.session()
            session.speak()
            node.answer(node.jobs()[0])
        finally:
            structlog.reset_defaults()
    assert ended(captured) == []
    assert "translation_result" in session.heard_types()
