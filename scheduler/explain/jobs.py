"""Finds the record of one job, and says why there is none."""

import re
from datetime import datetime

from scheduler.errors import NotFoundError
from scheduler.explain.history import History, Record, make_history, read_record
from scheduler.explain.reading import Running
from scheduler.memory.decisions import read_decisions
from scheduler.memory.layout import DECISIONS_MAX
from scheduler.protocol.ids import gateway_of, parse_wire_job_id

_JOB_ID = re.compile(r"job-[0-9a-z]+-(0|[1-9A-F][0-9A-F]{0,15})")
_SEE_RECENT = "--recent 20 shows the last that have"
_SEE_LOG = (
    "to have each job with its node in the log, set observability.levels to "
    '{ "scheduler.gateway" = "debug" }'
)


def is_job_id(text: str) -> bool:
    """Whether some run of the scheduler could have issued that id."""
    return _JOB_ID.fullmatch(text) is not None


def history_of_job(running: Running, job_id: str) -> History:
    """Return what is recorded of a job; raise NotFoundError, which says why there is nothing.

    `job_id` is one by `is_job_id`.
    """
    epoch = running.segment.epoch
    key = parse_wire_job_id(epoch, job_id)
    if key is None:
        raise NotFoundError(
            f"{job_id} is of another run of the scheduler, and what that decided went with it; "
            f"ids of this run begin with job-{epoch}-"
        )
    decisions = read_decisions(running.views, job=key)
    if not decisions:
        gateways = running.segment.dimensions.gateways
        why = _why_not(key, gateways, read_record(running.views))
        raise NotFoundError(f"nothing is recorded of {job_id}: {why}")
    return make_history(running, decisions, job_id)


def _why_not(key: int, gateways: int, record: Record) -> str:
    """Say why, and what to do."""
    if gateway_of(key) >= gateways:
        return f"no job of this run has that id, for there is no gateway {gateway_of(key)}"
    if not record.unrecorded_total and record.recorded_total <= DECISIONS_MAX:
        return f"no such job has needed a node in this run; {_SEE_RECENT}"
    reasons = []
    if record.recorded_total > DECISIONS_MAX and record.oldest_at_ms is not None:
        since = datetime.fromtimestamp(record.oldest_at_ms / 1_000).astimezone()
        reasons.append(
            f"the last {DECISIONS_MAX:,} decisions, which are kept, reach back to {since:%H:%M:%S}"
        )
    if record.unrecorded_total:
        decided = record.unrecorded_total + record.recorded_total
        reasons.append(f"{record.unrecorded_total:,} of {decided:,} were over what may be recorded")
    return f"{', and '.join(reasons)}; {_SEE_LOG}"
