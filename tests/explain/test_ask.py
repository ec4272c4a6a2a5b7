import numpy as np
import pytest

from scheduler.errors import NotFoundError
from scheduler.explain.ask import Ask, find_node
from scheduler.protocol.requirements import requirement_of
from scheduler.protocol.session import Features, Pipeline
from tests.dispatch.desk import WHOLE, Desk


def test_the_whole_pipeline_is_asked_for_by_default() -> None:
    assert Ask().requirement == WHOLE == requirement_of(None, None)


def test_it_asks_for_what_a_session_would() -> None:
    ask = Ask("en", "es", stages=("asr", "tts"), features=("persona_adaptation",))
    features = Features(persona_adaptation=True)
    assert ask.requirement == requirement_of(Pipeline(use_nmt=False), features)


def test_a_node_is_found_by_its_id_or_its_name() -> None:
    desk = Desk()
    first, second = desk.node("node-A", name="one"), desk.node("node-B", name="node-A")
    nodes = desk.tables.nodes
    assert find_node(nodes, "node-A") == first
    assert find_node(nodes, "node-B") == second
    assert find_node(nodes, "one") == first


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("twin", "2 nodes have the name twin; use an id, as node-C, node-D"),
        ("node-E", "there is no node node-E; use the id or name of one of the 3 there are"),
        ("nodeC", "as node-C"),
        ("loner", "as lone·r"),
        ("node", "there is no node node;"),  # the beginning of an id is no id
        ("", "there is no node ;"),
    ],
)
def test_what_is_not_found_is_answered_with_what_there_is(asked: str, says: str) -> None:
    desk = Desk()
    desk.node("node-C", name="twin")
    desk.node("node-D", name="twin")
    desk.node("node-F", name="lone\x1br")
    with pytest.raises(NotFoundError) as raised:
        find_node(desk.tables.nodes, asked)
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_free_rows_are_nobody() -> None:
    desk = Desk()
    with pytest.raises(NotFoundError, match="none is registered"):
        find_node(desk.tables.nodes, "node-A")
    with pytest.raises(NotFoundError, match="none is registered"):
        find_node(desk.tables.nodes, "")
    assert not np.any(desk.tables.nodes.status)
