import pytest

from scheduler.errors import SchedulerError
from scheduler.sdk.errors import ConnectionLost, JobFailed, Refused, SdkError, SessionError


def test_all_are_one_tree_and_say_their_code() -> None:
    errors = [
        ConnectionLost("gone"),
        Refused("SERVER_BUSY", "full"),
        SessionError("JOB_TIMEOUT", "late", "Please try again."),
        JobFailed("MODEL_NOT_AVAILABLE", "no", {"service_id": "nmt"}),
    ]
    assert all(isinstance(error, SdkError) for error in errors)
    assert all(isinstance(error, SchedulerError) for error in errors)
    assert [str(error) for error in errors] == [
        "gone",
        "SERVER_BUSY: full",
        "JOB_TIMEOUT: late",
        "MODEL_NOT_AVAILABLE: no",
    ]


@pytest.mark.parametrize(
    ("details", "wait_ms"),
    [
        (None, None),
        ({"retry_after_ms": 5}, 5),
        ({"retry_after_ms": "x"}, None),
        ({"retry_after_ms": -1}, None),
    ],
)
def test_a_refusal_may_say_when_to_come_back(
    details: dict[str, object] | None, wait_ms: int | None
) -> None:
    assert Refused("SERVER_BUSY", "full", details).retry_after_ms == wait_ms
