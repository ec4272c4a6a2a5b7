"""Failures carry the node's own words as far as there is room."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from scheduler.gateway.failures import failure_of, own_failure
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import JobResult, NodeFailure
from scheduler.protocol.records import ERROR_BYTES_MAX, VERSION_BYTES_MAX, Failure


def failed(error: NodeFailure | None) -> Failure:
    result = JobResult("job", 3, "node", "sess", 0, False, "trace", error=error)
    return failure_of(7, result, 5)


def test_our_own_finding_names_code_and_text() -> None:
    failure = own_failure(7, 3, 5, ErrorCode.INTERNAL_ERROR, "why")
    assert (failure.job, failure.attempt, failure.node) == (7, 3, 5)
    assert msgspec.json.decode(failure.error) == {"code": "INTERNAL_ERROR", "message": "why"}


def test_a_nodes_error_is_passed_on_whole() -> None:
    failure = failed(NodeFailure("OWN", "words", Raw(b'{"a": [1, 2]}')))
    assert (failure.code, failure.service) == ("OWN", "")
    assert msgspec.json.decode(failure.error) == {
        "code": "OWN",
        "message": "words",
        "details": {"a": [1, 2]},
    }


def test_without_an_error_it_is_an_internal_one() -> None:
    assert failed(None).code == ErrorCode.INTERNAL_ERROR


@given(st.text(max_size=9_000), st.binary(max_size=9_000))
def test_it_never_takes_more_room_than_there_is(message: str, details: bytes) -> None:
    failure = failed(NodeFailure("OWN", message, Raw(msgspec.json.encode(details))))
    assert len(failure.error) <= ERROR_BYTES_MAX
    assert msgspec.json.decode(failure.error)["code"] == "OWN"


@pytest.mark.parametrize(
    ("details", "service"),
    [
        (b'{"service_id": "a", "model_id": "b"}', "a"),
        (b'{"model_id": "b"}', "b"),
        (b"{}", ""),
        (b"null", ""),
        (b"[]", ""),
        (b'{"service_id": 5}', ""),
        (b'{"service_id": "' + b"x" * ERROR_BYTES_MAX + b'"}', ""),
    ],
)
def test_a_missing_model_names_its_service_where_it_does(details: bytes, service: str) -> None:
    failure = failed(NodeFailure("MODEL_NOT_AVAILABLE", "not here", Raw(details)))
    assert failure.service == service


@pytest.mark.parametrize(
    ("details", "version"),
    [
        (b'{"service_id": "a", "version": "1.2"}', "1.2"),
        (b'{"service_id": "a", "service_version": "1.2"}', "1.2"),
        (b'{"service_id": "a"}', ""),
        (b'{"version": "' + b"x" * (VERSION_BYTES_MAX + 1) + b'"}', "x" * VERSION_BYTES_MAX),
    ],
)
def test_a_missing_model_names_its_version_where_it_does(details: bytes, version: str) -> None:
    failure = failed(NodeFailure("MODEL_NOT_AVAILABLE", "not here", Raw(details)))
    assert failure.version == version


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (b'{"reason": "downloading"}', "downloading"),
        (b'{"reason": "gremlins"}', "other"),
        (b"{}", "unspecified"),
        (b"[1]", "unspecified"),
    ],
)
def test_a_missing_model_says_why(details: bytes, reason: str) -> None:
    failure = failed(NodeFailure("MODEL_NOT_AVAILABLE", "not here", Raw(details)))
    assert failure.reason == reason
