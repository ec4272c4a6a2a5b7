import pytest

from scheduler.protocol.codes import CODE_LABELS, HINTS, ErrorCode, code_index, hint

WIRE_CODES = """
INVALID_MESSAGE INTERNAL_ERROR INVALID_SESSION SESSION_CLOSED NODE_UNAVAILABLE NODE_OVERLOADED
MODEL_NOT_AVAILABLE MODEL_LOAD_FAILED UNSUPPORTED_FEATURE INVALID_PAIRING_CODE NO_AVAILABLE_NODE
WS_DISCONNECTED NMT_TIMEOUT TTS_TIMEOUT JOB_TIMEOUT MODEL_VERIFY_FAILED MODEL_CORRUPTED
NO_GPU_AVAILABLE NODE_ID_CONFLICT INVALID_CAPABILITY_SCHEMA SERVER_BUSY UNAUTHORIZED RATE_LIMITED
MESSAGE_TOO_LARGE SERVER_SHUTDOWN
"""


def test_codes_are_those_of_the_wire() -> None:
    assert {code.value for code in ErrorCode} == set(WIRE_CODES.split())
    assert all(code.name == code.value for code in ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_has_a_short_hint_of_its_own(code: ErrorCode) -> None:
    assert hint(code) == HINTS[code]
    assert 0 < len(hint(code)) <= 80
    assert hint(code).endswith(".")
    assert list(HINTS.values()).count(hint(code)) == 1


@pytest.mark.parametrize("code", ["", "job_timeout", "NODE_MADE_THIS_UP"])
def test_an_unknown_code_gets_the_general_hint(code: str) -> None:
    assert hint(code) == HINTS[ErrorCode.INTERNAL_ERROR]


def test_failures_are_counted_under_a_bounded_set_of_labels() -> None:
    for code in ErrorCode:
        assert CODE_LABELS[code_index(code)] == code
    assert CODE_LABELS[code_index("NODE_MADE_THIS_UP")] == "other"
    assert len(set(CODE_LABELS)) == len(ErrorCode) + 1
