"""What the dispatcher is told of an attempt that failed."""

import msgspec
from msgspec import Struct

from scheduler.gateway.messages import encode
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import JobResult, NodeFailure
from scheduler.protocol.records import ERROR_BYTES_MAX, Failure
from scheduler.protocol.text import cut_utf8

_TEXT_BYTES_MAX = 600
"""Of an error that has to be cut: escaped as JSON it may become six times as long."""


def own_failure(job: int, attempt: int, node: int, code: ErrorCode, text: str) -> Failure:
    """Return the record of a failure that is this gateway's finding."""
    return Failure(job, attempt, node, code, "", encode({"code": code, "message": text}))


def failure_of(job: int, result: JobResult, node: int) -> Failure:
    """Return the record of a `job_result` without success, with the node's own error."""
    error = result.error
    if error is None:
        text = "the node failed the job and gave no reason"
        return own_failure(job, result.attempt_id, node, ErrorCode.INTERNAL_ERROR, text)
    body = encode(error)
    if len(body) > ERROR_BYTES_MAX:
        body = encode({"code": error.code, "message": cut_utf8(error.message, _TEXT_BYTES_MAX)})
    return Failure(job, result.attempt_id, node, error.code, _missing_service(error), body)


class _MissingService(Struct):
    """What the details of a MODEL_NOT_AVAILABLE may name."""

    service_id: str | None = None
    model_id: str | None = None


def _missing_service(error: NodeFailure) -> str:
    """Return the service that a MODEL_NOT_AVAILABLE names, "" where it names none."""
    if error.code != ErrorCode.MODEL_NOT_AVAILABLE or len(error.details) > ERROR_BYTES_MAX:
        return ""
    try:
        details = msgspec.json.decode(error.details, type=_MissingService)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""  # details are for people first: what doesn't name a service names none
    return details.service_id or details.model_id or ""
