"""Decoding turns anything a peer can send into a message or a typed refusal."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import PeerError
from scheduler.gateway.messages import busy, decode, error_message, error_of, jittered
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import ClientHeartbeat, session_decoder


def refusal(text: bytes) -> PeerError:
    with pytest.raises(PeerError) as caught:
        decode(session_decoder, text)
    assert caught.value.code == ErrorCode.INVALID_MESSAGE
    return caught.value


def test_a_good_message_is_decoded() -> None:
    text = b'{"type":"client_heartbeat","session_id":"s","timestamp":1}'
    assert decode(session_decoder, text) == ClientHeartbeat("s", 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not a JSON message"),
        (b"{", "not a JSON message"),
        (b'{"type":"nonsense"}', "nonsense"),
        (b'{"type":"client_heartbeat","session_id":1,"timestamp":1}', "session_id"),
        (b'{"type":"client_heartbeat","session_id":"s"}', "timestamp"),
        (b'{"type":"client_heartbeat","session_id":"\xff","timestamp":1}', "not a JSON message"),
        (b'{"type":' + b"[" * 100_000, "not a JSON message"),
        (b'{"x":' + b'{"x":' * 100_000, "not a JSON message"),
    ],
)
def test_a_bad_one_is_refused_and_says_why(text: bytes, says: str) -> None:
    assert says in refusal(text).message


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(text: bytes) -> None:
    refusal(text)


def test_errors_carry_code_message_and_details() -> None:
    assert msgspec.json.decode(error_message("X", "why")) == {
        "type": "error",
        "code": "X",
        "message": "why",
    }
    error = PeerError(ErrorCode.SERVER_BUSY, "later", {"retry_after_ms": 5})
    assert msgspec.json.decode(error_of(error))["details"] == {"retry_after_ms": 5}


def test_those_told_to_come_back_are_spread_over_time() -> None:
    told = {jittered(1_000) for _ in range(200)}
    assert len(told) > 20
    assert min(told) >= 1_000
    assert max(told) <= 1_500


def test_a_refusal_for_want_of_room_says_the_same_in_words_and_details() -> None:
    error = busy("no room")
    assert error.details is not None
    assert error.message == f"no room; try again in {error.details['retry_after_ms']} ms"
