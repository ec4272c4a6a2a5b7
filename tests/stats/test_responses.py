import gzip
import json

import pytest
from aiohttp.test_utils import make_mocked_request

from scheduler.stats.responses import RECENT_MAX, RECENT_SECONDS, Prepared, Recent, problem

LONG = b"[" + b"1," * 2_000 + b"1]"


def test_a_problem_has_its_details() -> None:
    response = problem(409, "Conflict", detail="no")
    assert (response.status, response.content_type) == (409, "application/problem+json")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"title": "Conflict", "status": 409, "detail": "no"}


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=1.000", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("", False),
    ],
)
def test_the_client_chooses_the_form(accepted: str, compressed: bool) -> None:
    prepared = Prepared(LONG)
    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": accepted})
    body = prepared.respond(request).body
    assert body == (prepared.gzipped if compressed else LONG)


def test_short_answers_are_not_compressed() -> None:
    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": "gzip"})
    assert Prepared(b"{}").respond(request).body == b"{}"


def test_each_form_is_made_once() -> None:
    prepared = Prepared(LONG)
    assert prepared.gzipped is prepared.gzipped
    assert prepared.gzipped == Prepared(LONG).gzipped
    assert gzip.decompress(prepared.gzipped) == LONG
    assert prepared.etag == Prepared(LONG).etag != Prepared(b"other").etag


def test_text_says_its_charset() -> None:
    response = Prepared(b"hi", "text/html").respond(make_mocked_request("GET", "/"), {"X-A": "b"})
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["X-A"] == "b"


def test_what_was_made_a_moment_ago_is_not_made_again() -> None:
    now = [0.0]
    recent: Recent[int] = Recent(clock=lambda: now[0])
    made = iter(range(100))
    assert [recent.get("a", lambda: next(made)) for _ in range(3)] == [0, 0, 0]
    assert recent.get("b", lambda: next(made)) == 1
    now[0] = RECENT_SECONDS
    assert recent.get("a", lambda: next(made)) == 2


def test_of_many_keys_the_latest_are_kept() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)
    for number in range(RECENT_MAX + 1):
        assert recent.get(number, lambda made=number: made) == number  # type: ignore[misc]
    assert [recent.get(number, lambda: -1) for number in range(1, RECENT_MAX + 1)] == list(
        range(1, RECENT_MAX + 1)
    )
    assert recent.get(0, lambda: -1) == -1
