from pathlib import Path

import pytest

from tests.chaos.history import Event, History, Tag, parse_tag, read_history


def test_what_is_noted_can_be_read(tmp_path: Path) -> None:
    events = [
        Event(1, "session 1", "sent", 2, session="sess-A", index=0, text="ä"),
        Event(2, "chaos-03", "joined", size=4),
    ]
    history = History(tmp_path / "history")
    for event in events:
        history.note(event)
    history.close()
    assert [*read_history(tmp_path / "history")] == events


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = History(path)
    history.note(Event(1, "a", "mood"))
    history.note(Event(2, "b", "mood"))
    history.close()
    path.write_bytes(path.read_bytes()[:-3])
    assert [event.who for event in read_history(path)] == ["a"]


def test_a_tag_survives_its_way_through_a_text() -> None:
    tag = Tag("sess-0A", 17, "00ff")
    assert parse_tag(str(tag)) == tag


@pytest.mark.parametrize("text", ["", "sess-0A", "sess-0A 1", "sess-0A one 00ff", "late chaos-03"])
def test_other_texts_have_no_tag(text: str) -> None:
    assert parse_tag(text) is None
