"""Why a gateway gives up jobs that it has accepted."""

from enum import StrEnum


class Cancellation(StrEnum):
    """Reasons; the value is what nodes are told that work on such a job."""

    SESSION_CLOSED = "the session closed"
    CONNECTION_CLOSED = "the session's connection closed"
    NOT_RESUMED = "the session was not resumed"
    TOO_MANY_SUSPENDED = "too many sessions wait to be resumed"
    SUSPENDED_TOO_LARGE = "sessions that wait to be resumed hold too much"
    SHUTDOWN = "the server is shutting down"
    GATEWAY_LOST = "the session's gateway is gone"


CANCEL_LABELS = tuple(reason.name.lower() for reason in Cancellation)
"""Labels of counters."""

_INDEX = {reason: index for index, reason in enumerate(Cancellation)}


def cancel_index(reason: Cancellation) -> int:
    """Return a reason's place in CANCEL_LABELS."""
    return _INDEX[reason]
