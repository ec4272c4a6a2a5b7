from collections.abc import Iterator

import pytest

from scheduler.gateway.code_counts import CodeCounts
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import CODE_LABELS, ErrorCode
from tests.gateway.cancelled import cancelled

DIMENSIONS = Dimensions(gateways=2, nodes=1, sessions_per_gateway=1, classes=1)


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(DIMENSIONS, epoch="e", started_ms=0, started_ns=0)
    yield segment
    segment.close()


def test_known_codes_have_their_own_counter_and_others_share_one(segment: Segment) -> None:
    codes = CodeCounts(segment.views, 1)
    codes.add_failed(ErrorCode.JOB_TIMEOUT)
    codes.add_failed("JOB_TIMEOUT")
    codes.add_failed("OUT_OF_COFFEE")
    codes.add_refused(ErrorCode.SERVER_BUSY)
    failed = segment.views.column("gateway_codes", "jobs_failed_by_code_total")
    refused = segment.views.column("gateway_codes", "refusals_by_code_total")
    assert failed.sum() == 3
    assert failed[1, CODE_LABELS.index("JOB_TIMEOUT")] == 2
    assert failed[1, CODE_LABELS.index("other")] == 1
    assert refused.sum() == refused[1, CODE_LABELS.index("SERVER_BUSY")] == 1


def test_cancelled_jobs_are_counted_by_reason_and_gateway(segment: Segment) -> None:
    CodeCounts(segment.views, 1).add_cancelled(Cancellation.NOT_RESUMED)
    assert cancelled(segment.views, 1) == {"not_resumed": 1}
    assert cancelled(segment.views, 0) == {}


def test_a_successor_makes_reasons_sum_up_to_all(segment: Segment) -> None:
    codes = CodeCounts(segment.views, 0)
    codes.add_cancelled(Cancellation.SESSION_CLOSED)
    for total in (3, 3, 4):
        codes.settle_cancelled(total)
    assert cancelled(segment.views) == {"session_closed": 1, "gateway_lost": 3}
