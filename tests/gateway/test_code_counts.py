from scheduler.gateway.code_counts import CodeCounts
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.protocol.codes import CODE_LABELS, ErrorCode

DIMENSIONS = Dimensions(gateways=2, nodes=1, sessions_per_gateway=1, classes=1)


def test_known_codes_have_their_own_counter_and_others_share_one() -> None:
    segment = Segment.create(DIMENSIONS, epoch="e", started_ms=0, started_ns=0)
    try:
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
        del codes, failed, refused
    finally:
        segment.close()
