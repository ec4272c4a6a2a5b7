"""The snapshot on the public port is the file, byte for byte."""

from pathlib import Path

import pytest

from scheduler.gateway import public_stats
from scheduler.gateway.public_stats import PublicStats


def test_without_a_snapshot_the_answer_is_503(tmp_path: Path) -> None:
    assert PublicStats(tmp_path / "snapshot.json").respond().status == 503


def test_the_file_is_served_and_followed_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_stats, "LOOK_INTERVAL_NS", 0)
    path = tmp_path / "snapshot.json"
    stats = PublicStats(path)
    for body in (b'{"a":1}', b'{"a":2}'):
        fresh = tmp_path / "fresh"
        fresh.write_bytes(body)
        fresh.rename(path)
        response = stats.respond()
        assert (response.status, response.body) == (200, body)


def test_it_looks_once_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(b"{}")
    stats = PublicStats(path)
    assert stats.respond().status == 200
    path.unlink()
    assert stats.respond().status == 200


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_stats, "LOOK_INTERVAL_NS", 0)
    path = tmp_path / "snapshot.json"
    path.write_bytes(b"{}")
    stats = PublicStats(path)
    assert stats.respond().body is stats.respond().body
