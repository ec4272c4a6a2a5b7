"""What the dispatcher is told of an attempt that failed."""

import msgspec
from msgspec import Struct

from scheduler.gateway.messages import encode
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.missing import missing_reason
from scheduler.protocol.node import JobResult, NodeFailure
from scheduler.protocol.records import ERROR_BYTES_MAX, VERSION_BYTES_MAX, Failure
from scheduler.protocol.text import cut_utf8

_TEXT_BYTES_MAX = 600
"""Of an error that has to be cut: escaped as JSON it may become six times as long."""


def own_failure(
    job: int, attempt: int, node: int, code: ErrorCode, text: str, *, by_node: bool = False
) -> Failure:
    """Return the record of a failure that is this gateway's finding."""
    error = encode({"code": code, "message": text})
    return Failure(job, attempt, node, code, "", error, by_node=by_node)


def failure_of(job: int, result: JobResult, node: int) -> Failure:
    """Return the record of a `job_result` without success, with the node's own error."""
    error = result.error
    if error is None:
        text = "the node failed the job and gave no reason"
        attempt = result.attempt_id
        return own_failure(job, attempt, node, ErrorCode.INTERNAL_ERROR, text, by_node=True)
    body = encode(error)
    if len(body) > ERROR_BYTES_MAX:
        body = encode({"code": error.code, "message": cut_utf8(error.message, _TEXT_BYTES_MAX)})
    missing = _missing(error)
    return Failure(
        job,
        result.attempt_id,
        node,
        error.code,
        missing.service_id or missing.model_id or "",
        body,
        missing_reason(missing.reason),
        cut_utf8(missing.version or missing.service_version or "", VERSION_BYTES_MAX),
    )


class _Missing(Struct):
    """What the details of a MODEL_NOT_AVAILABLE may name."""

    service_id: str | None = None
    model_id: str | None = None
    version: str | None = None
    service_version: str | None = None
    reason: str | None = None


def _missing(error: NodeFailure) -> _Missing:
    """Return what a MODEL_NOT_AVAILABLE names."""
    if error.code != ErrorCode.MODEL_NOT_AVAILABLE or len(error.details) > ERROR_BYTES_MAX:
        return _Missing()
    try:
        return msgspec.json.decode(error.details, type=_Missing)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _Missing()  # details are for people first: what doesn't name a service names none
