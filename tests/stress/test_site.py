import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.errors import ConfigError, ProgramError
from scheduler.programs import running
from scheduler.stress.messages import Batch
from scheduler.stress.site import Feed, base_of
from tests.harness import poll

MODULE = """
import sys
print('{"sent": 1}', flush=True)
if sys.stdin.readline() == "end well\\n":
    print('{"sent": 2, "done": true}', flush=True)
"""


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://127.0.0.1:5010", "ws://127.0.0.1:5010"),
        ("ws://127.0.0.1:5010/ws/session", "ws://127.0.0.1:5010"),
        ("wss://speech.example/", "wss://speech.example"),
    ],
)
def test_an_address_may_have_a_path(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize("url", ["127.0.0.1:5010", "http://x:1", "ws://", ""])
def test_what_is_no_address_says_how_one_looks(url: str) -> None:
    with pytest.raises(ConfigError, match="write ws://host:port"):
        base_of(url)


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    (tmp_path / "reporting.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        running(tmp_path, "it", "reporting", talks=True, environment=os.environ) as program,
        closing(Feed(program)) as feed,
    ):
        yield feed


def heard(feed: Feed, sent: int) -> Batch:
    found = poll(f"{sent} sent", lambda: [b for b in feed.batches() if b.sent == sent])
    return found[0]


def test_what_a_driver_reports_is_heard_to_its_last_word(feed: Feed) -> None:
    assert not heard(feed, 1).done
    feed.program.tell(b"end well")
    assert heard(feed, 2).done
    assert feed.ended
    feed.program.process.wait(10)
    assert list(feed.batches()) == []


def test_a_driver_that_ends_without_its_last_word_has_failed(feed: Feed) -> None:
    heard(feed, 1)
    feed.program.tell(b"end badly")

    def fails() -> bool:
        try:
            return list(feed.batches()) is None
        except ProgramError as error:
            return "it: it ended too early" in str(error)

    assert poll("it has failed", fails)


def test_a_driver_that_is_not_done_is_ended(feed: Feed) -> None:
    heard(feed, 1)
    feed.close()
    assert feed.program.process.wait(10) == -9
